/** What only a store can do that is a file of this machine. */

/** A file that can be copied while it is in use. */
export interface FileStore {
  /** Writes a copy to `path`, with all that was durable before; the store is used meanwhile. One at a time. */
  copyTo(path: string): Promise<void>;
}
