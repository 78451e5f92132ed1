/** What a platform calls a machine: one node for each platform, or several joined by "+" in the platforms' order. */

/** A node as one platform knows it; where `platform` names several, each has its part of `node`. */
export interface Node {
  readonly platform: string;
  readonly node: string;
}

/** As shares, messages and the targets of revocations name it. */
export const nodeName = ({ platform, node }: Node): string => `${platform}/${node}`;

/** The node of several platforms: each one's own, joined by "+", in the platforms' order. */
export const joinNodes = (nodes: readonly string[]): string =>
  nodes.length === 1 ? (nodes[0] ?? '') : nodes.map(escapePlus).join('+');

const escapePlus = (node: string): string => node.replaceAll('%', '%25').replaceAll('+', '%2B');
const unescapePlus = (node: string): string => node.replaceAll('%2B', '+').replaceAll('%25', '%');

/** The nodes of single platforms that `joinPlatforms` and `joinNodes` joined. */
export function nodesOf({ platform, node }: Node): readonly Node[] {
  const names = platform.split('+');
  if (names.length === 1) return [{ platform, node }];
  const nodes = node.split('+').map(unescapePlus);
  return names.map((name, index) => ({ platform: name, node: nodes[index] ?? '' }));
}
