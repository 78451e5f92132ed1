/** How long the path of a unix socket may be: sun_path (unix(7)) ends with a zero byte. */
import { platform } from 'node:process';

/** Linux has 108 bytes for it, macOS and the BSDs 104. */
export const MAX_SOCKET_PATH_BYTES = (platform === 'linux' ? 108 : 104) - 1;

/** Why no socket can be at `path`; undefined if one can. */
export function socketPathProblem(path: string): string | undefined {
  const bytes = Buffer.byteLength(path);
  if (bytes <= MAX_SOCKET_PATH_BYTES) return undefined;
  const most = `the path of a socket has at most ${MAX_SOCKET_PATH_BYTES}`;
  return `${path} has ${bytes} bytes, and ${most}: use a shorter path`;
}
