/** The C library, for system calls that Node does not offer. */
import { createRequire } from 'node:module';

type Koffi = typeof import('koffi');

export interface Libc {
  /** A function by its C prototype. Throws if the library has none of that name. */
  func(prototype: string): ReturnType<ReturnType<Koffi['load']>['func']>;
  /** The errno of the last call that failed. */
  errno(): number;
}

/** Loads native code, so call it only when it is needed. Throws without glibc: musl, other systems. */
export function openLibc(): Libc {
  const koffi = createRequire(import.meta.url)('koffi') as Koffi;
  const library = koffi.load('libc.so.6');
  return { func: (prototype) => library.func(prototype), errno: () => koffi.errno() };
}
