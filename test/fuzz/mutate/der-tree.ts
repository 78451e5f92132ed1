/** Changes to DER as a tree, with all lengths put right again; what is no DER is changed blindly. */
import { tlv } from '@chancery/shared/der/write.ts';
import type { Random } from '../../kit/random.ts';
import { BLIND, type Change } from './blind.ts';

/** `inside` of a constructed element, and of octets that hold DER themselves; bytes of any other. */
interface Node {
  tag: number;
  inside: Uint8Array | Node[];
}

const CONSTRUCTED = 0x20;
const OCTETS = 4;
const MAX_DEPTH = 24;
const MANY_BYTES = 50_000;
const TAGS = [
  1, 2, 3, 4, 5, 6, 0x0c, 0x13, 0x16, 0x17, 0x18, 0x30, 0x31, 0xa0, 0xa1, 0xa3, 0x80, 0x82, 0x86,
] as const;

export const changeDer: Change = (input, other, random) => {
  const roots = readNodes(input, 0);
  if (roots === undefined) return random.pick(BLIND)(input, other, random);
  const all = flat(roots);
  const donors = flat(readNodes(other, 0) ?? roots);
  const pick = (from: readonly Place[]): Place | undefined => from[random.int(Math.max(1, from.length))];
  const [place, donor] = [pick(all), pick(donors)];
  if (place === undefined || donor === undefined) return random.pick(BLIND)(input, other, random);
  random.pick(CHANGES)(place, donor.list[donor.at], random);
  return writeNodes(roots);
};

interface Place {
  readonly list: Node[];
  readonly at: number;
}

type TreeChange = (place: Place, donor: Node | undefined, random: Random) => void;

const copy = (node: Node | undefined): Node[] =>
  node === undefined ? [] : (readNodes(writeNodes([node]), 0) ?? []);

const CHANGES = [
  ({ list, at }) => list.splice(at, 1),
  ({ list, at }, donor) => list.splice(at, 1, ...copy(donor)),
  ({ list, at }, donor) => list.splice(at, 0, ...copy(donor)),
  ({ list, at }, _, random) => {
    const node = list[at];
    const size = node === undefined ? 0 : writeNodes([node]).length;
    // As many as there is room for, at times: what is done for each of them shows then.
    const times = random.int(16) === 0 ? Math.floor(MANY_BYTES / (size + 1)) : 1 + random.int(40);
    list.splice(at, 0, ...Array.from({ length: times }, () => copy(node)).flat());
  },
  ({ list, at }) => list.push(...list.splice(at, 1)),
  ({ list, at }, _, random) => {
    const node = list[at];
    if (node !== undefined) node.tag = random.pick(TAGS);
  },
  ({ list, at }, _, random) => {
    const node = list[at];
    if (node === undefined) return;
    const content = node.inside instanceof Uint8Array ? node.inside : writeNodes(node.inside);
    node.inside = random.pick(BLIND)(content, content, random);
  },
  ({ list, at }, _, random) =>
    list.splice(at, 1, { tag: random.pick([0x30, 0x31, 0xa0, 4]), inside: copy(list[at]) }),
] as const satisfies readonly TreeChange[];

function flat(nodes: Node[]): readonly Place[] {
  return nodes.flatMap(({ inside }, at) => [
    { list: nodes, at },
    ...(inside instanceof Uint8Array ? [] : flat(inside)),
  ]);
}

const writeNodes = (nodes: readonly Node[]): Uint8Array =>
  Buffer.concat(
    nodes.map(({ tag, inside }) => tlv(tag, inside instanceof Uint8Array ? inside : writeNodes(inside))),
  );

/** Undefined for what is not elements to the end. Lenient: lengths may be longer than need be. */
function readNodes(bytes: Uint8Array, depth: number): Node[] | undefined {
  const nodes: Node[] = [];
  for (let at = 0; at < bytes.length; ) {
    const [tag = 0, first = 0] = bytes.subarray(at, at + 2);
    const size = first < 0x80 ? 0 : first & 0x7f;
    if (size > 3 || at + 2 + size > bytes.length) return undefined;
    const length = size === 0 ? first : Buffer.from(bytes).readUIntBE(at + 2, size);
    const start = at + 2 + size;
    if (start + length > bytes.length) return undefined;
    const content = bytes.subarray(start, start + length);
    const holds = depth < MAX_DEPTH && length > 1 && ((tag & CONSTRUCTED) !== 0 || tag === OCTETS);
    nodes.push({ tag, inside: (holds && readNodes(content, depth + 1)) || content });
    at = start + length;
  }
  return nodes;
}
