/**
 * What servers ask the client for: sampling, elicitation, roots. Each answer goes to the server that asked, which the
 * client's user is told.
 */
import {
  errorResponse,
  type Id,
  type Message,
  type Request,
  type Response,
} from '@chancery/shared/mcp/message.ts';
import type { Link } from './link.ts';
import { shownQuestion } from './shown.ts';

interface Open {
  readonly link: Link;
  readonly server: string;
  readonly id: Id;
}

const METHODS = new Set(['sampling/createMessage', 'elicitation/create', 'roots/list']);
/** Of one server at once. */
const MAX_OPEN = 32;

/** Open requests of the servers to one client. */
export class Asks {
  readonly #write: (message: Message) => boolean;
  readonly #open = new Map<Id, Open>();
  #last = 0;

  constructor(write: (message: Message) => boolean) {
    this.#write = write;
  }

  /** Passes a request on under an id of ours. False asks for a pause. */
  ask(server: string, link: Link, request: Request): boolean {
    const { id, method, params } = request;
    const refuse = (code: number, message: string): true => {
      void link.answer(errorResponse(id, { code, message }));
      return true;
    };
    if (!METHODS.has(method)) return refuse(-32601, 'the method is not known');
    const open = [...this.#open.values()].filter((each) => each.server === server).length;
    if (open >= MAX_OPEN) return refuse(-31503, `${MAX_OPEN} requests of this server are open`);
    const own = `${server}-${++this.#last}`;
    this.#open.set(own, { link, server, id });
    return this.#write({ ...request, id: own, ...shownQuestion(server, { method, params }) });
  }

  /** The client's answer. One that nobody asked for is dropped. */
  async answer(response: Response): Promise<void> {
    const asked = response.id === undefined ? undefined : this.#open.get(response.id);
    if (asked === undefined || response.id === undefined) return;
    this.#open.delete(response.id);
    await asked.link.answer({ ...response, id: asked.id });
  }

  /** A server gives up a request of its own, and of no other server. */
  cancel(link: Link, requestId: unknown): boolean {
    for (const [own, each] of this.#open)
      if (each.link === link && each.id === requestId) return this.#giveUp(own);
    return true;
  }

  /** The server is down, or gone. */
  end(server: string): void {
    for (const [own, each] of [...this.#open]) if (each.server === server) this.#giveUp(own);
  }

  #giveUp(requestId: Id): boolean {
    this.#open.delete(requestId);
    return this.#write({ kind: 'notification', method: 'notifications/cancelled', params: { requestId } });
  }
}
