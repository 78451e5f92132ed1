/** What the operating system refuses, in words that a person can act on. */

const SENTENCES: Readonly<Record<string, string>> = {
  EACCES: 'permission denied. Run as the owner of the folder, or change its mode',
  EPERM: 'not permitted for this user',
  EROFS: 'the file system is read-only',
  ENOSPC: 'no space left on its disk. Free some',
  EDQUOT: 'the disk quota of this user is used up. Free some space',
  EEXIST: 'a folder is expected, found a file. Move the file away, or name another folder',
  ENOTDIR: 'a part of this path is a file, not a folder',
  EISDIR: 'a file is expected, found a folder',
  ENOENT: 'no such file or folder',
  ELOOP: 'too many links, or a link to itself',
};

/** Without the path. Undefined if the error is not the operating system's. */
export function systemSentence(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('syscall' in error) || !('code' in error)) return undefined;
  return SENTENCES[String(error.code)] ?? error.message;
}

/** As `systemSentence`, with the path where the error has one. */
export function systemSentenceWithPath(error: unknown): string | undefined {
  const says = systemSentence(error);
  if (says === undefined || !(error instanceof Error) || !('path' in error)) return says;
  return `${String(error.path)}: ${says}`;
}

/** Why a program could not be started. */
export function cannotRun(program: string, error: Error): string {
  const code = 'code' in error ? error.code : undefined;
  if (code === 'ENOENT') return program.includes('/') ? 'no such file' : 'no such program in the PATH';
  return code === 'EACCES' ? 'it is not an executable file' : (systemSentence(error) ?? error.message);
}
