/**
 * A token, by its label: found, logged in to, and a few sessions of it. What was lost, such as a session or the token
 * itself, is opened again with the next use.
 */
import { IdentityError, isRefusal } from '@chancery/shared/ground/errors.ts';
import { type Cryptoki, type Handle, initialize, nameOf, saysOf } from './cryptoki.ts';
import { ensureNotRefused, forgetRefused, type PinAt, readPin, rememberRefused } from './pin.ts';

/** Each call waits on a thread of libuv, which has four and needs some for files. */
const MAX_SESSIONS = 2;
/** A token that owes an answer for so long is taken for dead. */
const ANSWER_MS = 10_000;
/** How often the module is initialized anew at most, since that may wait for a device. */
const INITIALIZE_MS = 5_000;

const [CKF_RW_SESSION, CKF_SERIAL_SESSION, CKU_USER] = [0x2, 0x4, 1];
/** Of CK_TOKEN_INFO.flags. */
const [USER_PIN_INITIALIZED, USER_PIN_FINAL_TRY, USER_PIN_LOCKED] = [0x8, 0x2_0000, 0x4_0000];

/** Return values of C_Login that say that the PIN is not to be tried again. */
const PIN_REFUSED = ['CKR_PIN_INCORRECT', 'CKR_PIN_INVALID', 'CKR_PIN_LEN_RANGE', 'CKR_PIN_LOCKED'];

/** One user of the token at a time has it. */
export interface Session {
  readonly handle: Handle;
  /** Handles of objects are good within one; it changes when the token was lost. */
  readonly generation: number;
  /** The module reads and writes them while a thread waits for it, so they live as long as the session. */
  readonly input: Buffer;
  readonly output: Buffer;
}

export interface TokenDeps {
  readonly cryptoki: Cryptoki;
  readonly label: string;
  readonly pin: PinAt;
  /** For tests; 10 s. */
  readonly answerMs?: number;
}

/** The largest signature that is asked for has 96 bytes. */
const BUFFER_BYTES = 128;

/** The session is its own until the promise settles. */
type Work<T> = (session: Session, cryptoki: Cryptoki) => Promise<T> | T;

/** Opens sessions when they are needed. The caller closes it. */
export class Token {
  readonly label: string;
  readonly #deps: TokenDeps;
  #generation = 0;
  readonly #idle: Session[] = [];
  #open = 0;
  readonly #waiting = new Set<() => void>();
  #initializedAt = Number.NEGATIVE_INFINITY;

  constructor(deps: TokenDeps) {
    this.#deps = deps;
    this.label = deps.label;
  }

  get #answerMs(): number {
    return this.#deps.answerMs ?? ANSWER_MS;
  }

  /**
   * Runs `work` with a session; once more where the session, the object or the token was lost. Throws key_unreachable,
   * key_refused, file, file_mode.
   */
  async use<T>(work: Work<T>): Promise<T> {
    const before = this.#generation;
    try {
      return await this.once(work);
    } catch (error) {
      if (!mayBeLost(error)) throw error;
      if (before === this.#generation) this.#lose();
      return await this.once(work);
    }
  }

  /** As `use`, and not once more: for what must not be done twice. */
  async once<T>(work: Work<T>): Promise<T> {
    const until = performance.now() + this.#answerMs;
    const session = await this.#take(until);
    // A call that does not return keeps its session: the module still writes to its buffers.
    const working = (async () => work(session, this.#deps.cryptoki))().finally(() => this.#give(session));
    try {
      return await this.#inTime(working, until);
    } catch (error) {
      if (nameOf(error) === undefined || isRefusal(error)) throw error;
      throw unreachable(`token ${this.label} failed: ${saysOf(error)}`, error);
    }
  }

  /** Ends all sessions that nobody waits for. Blocks. */
  close(): void {
    this.#generation += 1;
    for (const each of this.#idle.splice(0)) this.#end(each);
    if (this.#open === 0) quietly(() => this.#deps.cryptoki.C_Finalize());
  }

  async #inTime<T>(working: Promise<T>, until: number): Promise<T> {
    const late = Promise.withResolvers<never>();
    const says = `token ${this.label} has not answered for ${this.#answerMs / 1000} s`;
    const timer = setTimeout(() => late.reject(unreachable(says)), Math.max(0, until - performance.now()));
    try {
      return await Promise.race([working, late.promise]);
    } finally {
      clearTimeout(timer);
      working.catch(() => {});
    }
  }

  async #take(until: number): Promise<Session> {
    while (this.#idle.length === 0 && this.#open >= MAX_SESSIONS) {
      const turn = Promise.withResolvers<void>();
      this.#waiting.add(turn.resolve);
      try {
        await this.#inTime(turn.promise, until);
      } finally {
        this.#waiting.delete(turn.resolve);
      }
    }
    return this.#idle.pop() ?? this.#openSession();
  }

  #give(session: Session): void {
    if (session.generation === this.#generation) this.#idle.push(session);
    else this.#end(session);
    const [first] = this.#waiting;
    if (first === undefined) return;
    // A caller that has waited too long is not among them: its turn would be lost.
    this.#waiting.delete(first);
    first();
  }

  #end(session: Session): void {
    this.#open -= 1;
    quietly(() => this.#deps.cryptoki.C_CloseSession(session.handle));
  }

  /** Sessions in use end when they are given back. */
  #lose(): void {
    this.#generation += 1;
    for (const each of this.#idle.splice(0)) this.#end(each);
    this.#initialize();
  }

  /** Some modules see a token that came back, or that is new, only from then on. */
  #initialize(): void {
    const now = performance.now();
    if (this.#open > 0 || now - this.#initializedAt < INITIALIZE_MS) return;
    this.#initializedAt = now;
    quietly(() => this.#deps.cryptoki.C_Finalize());
    quietly(() => initialize(this.#deps.cryptoki));
  }

  #openSession(): Session {
    const { cryptoki } = this.#deps;
    let handle: Handle | undefined;
    try {
      handle = cryptoki.C_OpenSession(this.#slot(), CKF_SERIAL_SESSION | CKF_RW_SESSION);
      this.#login(handle);
    } catch (error) {
      const opened = handle;
      if (opened !== undefined) quietly(() => cryptoki.C_CloseSession(opened));
      throw isRefusal(error)
        ? error
        : unreachable(`token ${this.label} could not be opened: ${saysOf(error)}`, error);
    }
    this.#open += 1;
    const [input, output] = [Buffer.alloc(BUFFER_BYTES), Buffer.alloc(BUFFER_BYTES)];
    return { handle, generation: this.#generation, input, output };
  }

  #login(handle: Handle): void {
    const { cryptoki, pin: at } = this.#deps;
    const pin = readPin(at);
    ensureNotRefused(pin, this.label, at);
    this.#ensureTries();
    try {
      cryptoki.C_Login(handle, CKU_USER, pin);
    } catch (error) {
      const name = nameOf(error) ?? '';
      if (name === 'CKR_USER_ALREADY_LOGGED_IN') return;
      if (!PIN_REFUSED.includes(name)) throw error;
      rememberRefused(pin, this.label, at);
      const says = `token ${this.label} refuses the PIN of ${at.pinFile} (${name}): correct the file`;
      throw new IdentityError('key_refused', `${says}; it is not tried again, since a token locks itself`);
    }
    forgetRefused(at);
  }

  /** The last try is a person's: if it fails, too, the token is locked for good. */
  #ensureTries(): void {
    const { flags } = this.#deps.cryptoki.C_GetTokenInfo(this.#slot());
    const refuse = (says: string): never => {
      throw new IdentityError('key_refused', `token ${this.label} ${says}`);
    };
    if ((flags & USER_PIN_INITIALIZED) === 0) refuse('has no user PIN yet: set one (C_InitPIN)');
    if ((flags & USER_PIN_LOCKED) !== 0)
      refuse('is locked after wrong PINs: unlock it as its security officer');
    if ((flags & USER_PIN_FINAL_TRY) !== 0)
      refuse('takes one more wrong PIN before it locks itself: log in by hand once with the right one');
  }

  #slot(): Handle {
    let slot = this.#find();
    if (slot === undefined) {
      this.#initialize();
      slot = this.#find();
    }
    if (slot === undefined)
      throw unreachable(`there is no token ${this.label}: is it plugged in and initialized?`);
    return slot;
  }

  #find(): Handle | undefined {
    const { cryptoki } = this.#deps;
    const slots = labelled(cryptoki).filter(({ label }) => label === this.label);
    if (slots.length > 1)
      throw new IdentityError(
        'key_wrong',
        `${slots.length} tokens have the label ${this.label}: give one another`,
      );
    return slots[0]?.slot;
  }
}

function labelled(cryptoki: Cryptoki): readonly { readonly slot: Handle; readonly label: string }[] {
  // A module that a crash of its own has left uninitialized has no slots.
  const slots = orNothing(() => cryptoki.C_GetSlotList(true)) ?? [];
  return slots.flatMap((slot) => {
    // A token that leaves while it is looked at, or somebody else's that this module cannot read.
    const info = orNothing(() => cryptoki.C_GetTokenInfo(slot));
    return info === undefined ? [] : [{ slot, label: info.label.trimEnd() }];
  });
}

/** What the module answers; undefined if it refuses. */
function orNothing<T>(ask: () => T): T | undefined {
  try {
    return ask();
  } catch (error) {
    if (nameOf(error) === undefined) throw error;
    return undefined;
  }
}

const unreachable = (says: string, cause?: unknown): IdentityError =>
  new IdentityError('key_unreachable', says, { cause });

/**
 * Whether a new look may end otherwise: a call of the module failed, or there is no such key, which is also what some
 * modules say of a token that was pulled. Not where the token is away or does not answer.
 */
const mayBeLost = (error: unknown): boolean =>
  isRefusal(error, 'key_missing') ||
  (isRefusal(error, 'key_unreachable') && nameOf(error.cause) !== undefined);

function quietly(call: () => void): void {
  try {
    call();
  } catch {
    // What is gone already cannot be ended.
  }
}
