// Reads pickles without running anything of them: opcodes and names of two short lists, and a refusal for all others. Pure.

/** Not a pickle of the kind that is read, or a hostile one. */
export class RefusedPickle extends Error {}

/** A name that the pickle refers to: known to the reader, so harmless. */
export class PickledName {
  readonly name: string;
  /** What a call of it means here; undefined for what only is named. */
  readonly call: ((args: readonly unknown[]) => unknown) | undefined;

  constructor(name: string, call?: PickledName['call']) {
    this.name = name;
    this.call = call;
  }
}

export interface PickleRules {
  /** The names that may occur, as `module.name`. */
  readonly names: ReadonlyMap<string, PickledName>;
  /** What a persistent id means. */
  readonly persistent: (id: unknown) => unknown;
}

/** Stands in the stack where a run of values begins. */
const MARK = Symbol('mark');

const refuse = (what: string): RefusedPickle => new RefusedPickle(what);

/**
 * The machine that a pickle is a program of. All it makes is bounded by the pickle's own length: every opcode adds at most one
 * value, texts are parts of the pickle, and what is fetched again is the same object.
 */
class Machine {
  private readonly bytes: Uint8Array;
  private readonly view: DataView;
  private at = 0;
  private readonly stack: unknown[] = [];
  private readonly memo = new Map<number, unknown>();
  readonly rules: PickleRules;

  constructor(bytes: Uint8Array, rules: PickleRules) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.rules = rules;
  }

  /** The offset of so many bytes, which are thereby read. */
  private advance(length: number): number {
    const from = this.at;
    if (length > this.bytes.length - from) throw refuse('it ends in the middle of a value');
    this.at += length;
    return from;
  }

  byte(): number {
    return this.view.getUint8(this.advance(1));
  }
  uint16(): number {
    return this.view.getUint16(this.advance(2), true);
  }
  uint32(): number {
    return this.view.getUint32(this.advance(4), true);
  }
  int32(): number {
    return this.view.getInt32(this.advance(4), true);
  }
  uint64(): number {
    const value = this.view.getBigUint64(this.advance(8), true);
    if (value > BigInt(this.bytes.length)) throw refuse('a length beyond its end');
    return Number(value);
  }
  double(): number {
    return this.view.getFloat64(this.advance(8), false);
  }
  raw(length: number): Uint8Array {
    const from = this.advance(length);
    return this.bytes.subarray(from, from + length);
  }
  text(length: number): string {
    return new TextDecoder().decode(this.raw(length));
  }
  line(): string {
    const end = this.bytes.indexOf(0x0a, this.at);
    if (end < 0) throw refuse('it ends in the middle of a name');
    const line = this.text(end - this.at);
    this.at = end + 1;
    return line;
  }
  /** A little-endian number in two's complement. */
  integer(length: number): number {
    if (length > 8) throw refuse('a number of more than 64 bits');
    const bytes = this.raw(length);
    let value = 0n;
    for (const [index, byte] of bytes.entries()) value |= BigInt(byte) << BigInt(8 * index);
    const signed = Number(BigInt.asIntN(8 * length, value));
    if (!Number.isSafeInteger(signed)) throw refuse('a number beyond every count');
    return signed;
  }

  push(value: unknown): void {
    this.stack.push(value);
  }
  pop(): unknown {
    if (this.stack.length === 0) throw refuse('it takes a value that is not there');
    const value = this.stack.pop();
    if (value === MARK) throw refuse('it takes a value that is not there');
    return value;
  }
  peek(): unknown {
    const value = this.pop();
    this.stack.push(value);
    return value;
  }
  mark(): void {
    this.stack.push(MARK);
  }
  /** The values since the last mark, which goes with them. */
  popToMark(): unknown[] {
    const from = this.stack.lastIndexOf(MARK);
    if (from < 0) throw refuse('it takes values that are not there');
    const values = this.stack.splice(from);
    values.shift();
    return values;
  }
  remember(index = this.memo.size): void {
    this.memo.set(index, this.peek());
  }
  recall(index: number): void {
    if (!this.memo.has(index)) throw refuse('it recalls a value that is not there');
    this.stack.push(this.memo.get(index));
  }

  name(module: unknown, name: unknown): void {
    const whole = `${String(module)}.${String(name)}`;
    const known = this.rules.names.get(whole);
    if (known === undefined) throw refuse(`it names ${whole.slice(0, 200)}`);
    this.push(known);
  }
  call(): void {
    const args = this.pop();
    const callee = this.pop();
    if (!(callee instanceof PickledName) || callee.call === undefined || !Array.isArray(args)) {
      throw refuse(`it calls ${callee instanceof PickledName ? callee.name : 'what is no function'}`);
    }
    this.push(callee.call(args));
  }
  /** Key and value alternate. */
  setItems(items: readonly unknown[]): void {
    const target = this.peek();
    if (!(target instanceof Map) || items.length % 2 !== 0) throw refuse('it sets items of what is no dict');
    for (let index = 0; index < items.length; index += 2) target.set(items[index], items[index + 1]);
  }
  append(items: readonly unknown[]): void {
    const target = this.peek();
    if (!Array.isArray(target) || Object.isFrozen(target)) throw refuse('it appends to what is no list');
    for (const item of items) target.push(item);
  }
  /** Attributes of a dict, as `_metadata` of a state dict: they say nothing of its tensors. */
  build(): void {
    const state = this.pop();
    if (!(state instanceof Map) || !(this.peek() instanceof Map)) throw refuse('it sets the state of an object');
  }
  tuple(items: unknown[]): void {
    this.push(Object.freeze(items));
  }

  run(): unknown {
    for (;;) {
      const opcode = this.byte();
      if (opcode === STOP) return this.pop();
      const apply = OPCODES[opcode];
      if (apply === undefined) throw refuse(`it has the opcode 0x${opcode.toString(16)}, which weights do not need`);
      apply(this);
    }
  }
}

const STOP = 0x2e;
const MAX_PROTOCOL = 5;

const take = (machine: Machine, count: number): unknown[] =>
  Array.from({ length: count }, () => machine.pop()).reverse();

/** By the numbers of Python's pickletools. */
const OPCODES: Readonly<Record<number, (machine: Machine) => void>> = {
  // PROTO and FRAME say nothing that is needed.
  0x80: (machine) => {
    if (machine.byte() > MAX_PROTOCOL) throw refuse('a protocol that is not known');
  },
  0x95: (machine) => void machine.uint64(),
  // None, True, False.
  0x4e: (machine) => machine.push(null),
  0x88: (machine) => machine.push(true),
  0x89: (machine) => machine.push(false),
  // Numbers.
  0x4a: (machine) => machine.push(machine.int32()),
  0x4b: (machine) => machine.push(machine.byte()),
  0x4d: (machine) => machine.push(machine.uint16()),
  0x8a: (machine) => machine.push(machine.integer(machine.byte())),
  0x47: (machine) => machine.push(machine.double()),
  // Texts and bytes.
  0x58: (machine) => machine.push(machine.text(machine.uint32())),
  0x8c: (machine) => machine.push(machine.text(machine.byte())),
  0x8d: (machine) => machine.push(machine.text(machine.uint64())),
  0x42: (machine) => machine.push(machine.raw(machine.uint32())),
  0x43: (machine) => machine.push(machine.raw(machine.byte())),
  // Python 2's strings.
  0x55: (machine) => machine.push(machine.text(machine.byte())),
  0x54: (machine) => machine.push(machine.text(machine.uint32())),
  // Tuples, lists, dicts.
  0x28: (machine) => machine.mark(),
  0x29: (machine) => machine.tuple([]),
  0x85: (machine) => machine.tuple(take(machine, 1)),
  0x86: (machine) => machine.tuple(take(machine, 2)),
  0x87: (machine) => machine.tuple(take(machine, 3)),
  0x74: (machine) => machine.tuple(machine.popToMark()),
  0x5d: (machine) => machine.push([]),
  0x61: (machine) => machine.append(take(machine, 1)),
  0x65: (machine) => machine.append(machine.popToMark()),
  0x7d: (machine) => machine.push(new Map()),
  0x73: (machine) => machine.setItems(take(machine, 2)),
  0x75: (machine) => machine.setItems(machine.popToMark()),
  // Values that are used again.
  0x71: (machine) => machine.remember(machine.byte()),
  0x72: (machine) => machine.remember(machine.uint32()),
  0x94: (machine) => machine.remember(),
  0x68: (machine) => machine.recall(machine.byte()),
  0x6a: (machine) => machine.recall(machine.uint32()),
  // GLOBAL, STACK_GLOBAL, REDUCE, BUILD, BINPERSID.
  0x63: (machine) => {
    const module = machine.line();
    machine.name(module, machine.line());
  },
  0x93: (machine) => {
    const [module, name] = take(machine, 2);
    machine.name(module, name);
  },
  0x52: (machine) => machine.call(),
  0x62: (machine) => machine.build(),
  0x51: (machine) => machine.push(machine.rules.persistent(machine.pop())),
};

/** What the pickle says: dicts as Maps, tuples as frozen arrays. Throws `RefusedPickle`. */
export const readPickle = (bytes: Uint8Array, rules: PickleRules): unknown => new Machine(bytes, rules).run();
