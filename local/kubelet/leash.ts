// Preloaded into every child process: when the parent is gone, however it went, the child goes too.
// The IPC channel closes with the parent's death, kill -9 included; nothing in the child itself needs to know.
process.on('disconnect', () => {
  process.kill(process.pid, 'SIGKILL');
});
// The listener alone would keep a finished child alive.
process.channel?.unref();
