/** Imported before a CA: ends the thread of its database at SIGUSR2, as a lack of memory would. */
import { Worker } from 'node:worker_threads';

const post = Worker.prototype.postMessage;
let store: Worker | undefined;
Worker.prototype.postMessage = function (this: Worker, ...args: Parameters<typeof post>) {
  store = this;
  post.apply(this, args);
};
process.on('SIGUSR2', () => void store?.terminate());
