// A time-out that looks before it fires: what has arrived by then is read first.

/**
 * Calls back after so long. A process that was held up finds its timers due before it has read its sockets, and would
 * give up on answers that are there. Returns the function that calls it off.
 */
export function patientTimeout(callback: () => void, ms: number): () => void {
  let immediate: NodeJS.Immediate | undefined;
  const timer = setTimeout(() => {
    immediate = setImmediate(callback);
  }, ms);
  return () => {
    clearTimeout(timer);
    clearImmediate(immediate);
  };
}
