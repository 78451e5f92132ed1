/** The C library, for what Node does not ask the kernel. */
import { createRequire } from 'node:module';

type Koffi = typeof import('koffi');

export interface Libc {
  /** A function by its C prototype. Throws where there is none of that name. */
  func(prototype: string): ReturnType<ReturnType<Koffi['load']>['func']>;
  /** Of the last call that failed. */
  errno(): number;
}

/** Loads native code, so callers wait until they need it. Throws where there is no glibc: musl, other systems. */
export function openLibc(): Libc {
  const koffi = createRequire(import.meta.url)('koffi') as Koffi;
  const library = koffi.load('libc.so.6');
  return { func: (prototype) => library.func(prototype), errno: () => koffi.errno() };
}
