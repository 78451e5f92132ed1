/** Keeps the outputs up to date with the SVID and the bundle. Each is independent, so that none waits for another. */
import { backoffSeconds } from '@chancery/shared/ground/backoff.ts';
import { addSeconds, type Clock } from '@chancery/shared/ground/clock.ts';
import type { Log } from '@chancery/shared/ground/log.ts';
import type { Source } from '@chancery/shared/ground/source.ts';
import type { Bundle } from '@chancery/shared/spiffe/bundle.ts';
import type { OutputSettings } from '../config/schema.ts';
import { type Holding, hasLists, writeOutput } from './files.ts';
import { type ChainsAbove, fullChain, type WrittenChain } from './full-chain.ts';
import { type NotifyDeps, notifyReader } from './notify.ts';

/** Revocation lists, which there may be none of yet. */
interface ListSource {
  /** X.509 DER, verified. */
  current(): readonly { readonly der: Uint8Array }[];
  has(): boolean;
  onChange(listener: () => void): () => void;
}

export interface OutputsOptions extends NotifyDeps {
  readonly outputs: readonly OutputSettings[];
  readonly svid: Source<Holding>;
  readonly bundle: Source<Bundle>;
  /** For outputs with a full chain: as the CA sent them. */
  readonly crossChains: Pick<Source<ChainsAbove['crossChains']>, 'current' | 'onChange'> | undefined;
  /** For outputs with `crl`; undefined if there are none. */
  readonly crls: ListSource | undefined;
  readonly clock: Clock;
  /** From 0 up to 1. */
  readonly random: () => number;
  readonly log: Log;
}

export interface OutputState {
  readonly dir: string;
  /** Why it is not up to date; undefined if it is. */
  readonly failure: string | undefined;
  /** What svid.pem has, as it was written last; undefined before that. */
  readonly written: WrittenChain | undefined;
}

export interface Outputs {
  readonly states: () => readonly OutputState[];
  /** Resolves when open work is done. A command that still runs has 1 s, and is then ended. */
  close(): Promise<void>;
}

/**
 * How long the first version waits for the lists: a server whose config names a missing `crl.pem` does not start, so
 * with a CA that answers there is none. Without it for longer, the others are better than nothing.
 */
const FIRST_LISTS_SECONDS = 10;
const NO_LISTS = 'crl.pem is missing, since the CA has sent no revocation lists yet';
const RETRY = { firstSeconds: 1, lastSeconds: 60, spread: 0.2 };
/** Together with the command's grace less than the 5 s that the process has to close. */
const CLOSE_MS = 1_000;

/** Writes at once and after every change, and again after a failure, which leaves the last good files. */
export function startOutputs(options: OutputsOptions): Outputs {
  const kept = options.outputs.map((output) => new KeptOutput(output, options));
  const change = (): void => {
    for (const each of kept) each.change();
  };
  const changeLists = (): void => {
    for (const each of kept) if (each.hasLists) each.change();
  };
  const changeChains = (): void => {
    for (const each of kept) if (each.isFull) each.change();
  };
  const stops = [
    options.crossChains?.onChange(changeChains),
    options.svid.onChange(change),
    options.bundle.onChange(change),
    options.crls?.onChange(changeLists),
  ];
  change();
  return {
    states: () => kept.map((each) => each.state()),
    close: async () => {
      for (const stop of stops) stop?.();
      await Promise.all(kept.map((each) => each.close()));
    },
  };
}

class KeptOutput {
  readonly #output: OutputSettings;
  readonly #options: OutputsOptions;
  readonly #closed = new AbortController();
  /** Aborted a second after `#closed`. */
  readonly #ending = new AbortController();
  /** Aborted by a change: a pause after a failure then ends. */
  #paused = new AbortController();
  #wanted = 0;
  #done = 0;
  #failure: string | undefined;
  #written: WrittenChain | undefined;
  #running: Promise<void> = Promise.resolve();
  #listsBy: Date | undefined;
  #busy = false;

  constructor(output: OutputSettings, options: OutputsOptions) {
    this.#output = output;
    this.#options = options;
  }

  /** Whether it is written for a new revocation list. */
  get hasLists(): boolean {
    return this.#output.crl === true;
  }

  /** Whether it is written for a new chain from a CA above. */
  get isFull(): boolean {
    return this.#output.chain === 'full';
  }

  state(): OutputState {
    const failure = this.#failure ?? (this.#lacksLists() ? NO_LISTS : undefined);
    return { dir: this.#output.dir, failure, written: this.#written };
  }

  change(): void {
    this.#wanted += 1;
    this.#paused.abort();
    if (this.#busy) return;
    this.#busy = true;
    this.#running = this.#run().finally(() => {
      this.#busy = false;
    });
  }

  async close(): Promise<void> {
    this.#closed.abort();
    this.#paused.abort();
    const timer = setTimeout(() => this.#ending.abort(), CLOSE_MS);
    await this.#running;
    clearTimeout(timer);
  }

  /** Attempts until the newest state is written and its reader notified, or the output is closed. */
  async #run(): Promise<void> {
    let failures = 0;
    if (this.#lacksLists()) await this.#untilLists();
    if (this.#closed.signal.aborted && this.#lacksLists()) return;
    while (this.#done < this.#wanted) {
      const wanted = this.#wanted;
      if (await this.#attempt(failures + 1)) {
        this.#done = wanted;
        failures = 0;
        continue;
      }
      failures = wanted === this.#wanted ? failures + 1 : 0;
      if (this.#closed.signal.aborted) return;
      if (failures > 0) await this.#pause(failures);
    }
  }

  #lacksLists(): boolean {
    return this.hasLists && this.#options.crls?.has() !== true && !hasLists(this.#output);
  }

  /** Of the first version: at its end it has the lists, or waits no longer. */
  async #untilLists(): Promise<void> {
    const { clock } = this.#options;
    this.#listsBy ??= addSeconds(clock.now(), FIRST_LISTS_SECONDS);
    const by = this.#listsBy;
    while (this.#lacksLists() && clock.now() < by && !this.#closed.signal.aborted) await this.#sleep(by);
  }

  async #attempt(attempt: number): Promise<boolean> {
    const { svid, bundle, crls, clock, log } = this.#options;
    try {
      const lists = crls?.has() === true ? crls.current().map(({ der }) => der) : undefined;
      const [holding, roots, now] = [svid.current(), bundle.current(), clock.now()];
      const written = this.#chainOf(holding, roots, now);
      writeOutput(this.#output, { ...holding, chain: written.chain, crls: lists }, roots, now);
      this.#written = written;
      await notifyReader(this.#output, this.#options, this.#ending.signal);
      this.#failure = undefined;
      return true;
    } catch (error) {
      this.#failure = error instanceof Error ? error.message : String(error);
      const next = this.#closed.signal.aborted ? 'the agent is ending' : 'trying again';
      log.error({ err: error, dir: this.#output.dir, attempt }, `an output is not up to date; ${next}`);
      return false;
    }
  }

  #chainOf({ chain }: Holding, bundle: Bundle, now: Date): WrittenChain {
    if (!this.isFull) return { chain, lacks: undefined };
    const { crossChains, log } = this.#options;
    const written = fullChain(chain, { bundle, crossChains: crossChains?.current() ?? [], now });
    const { lacks } = written;
    if (lacks !== undefined && lacks !== this.#written?.lacks)
      log.warn({ dir: this.#output.dir, lacks }, 'an output has the short chain and not the full one');
    return written;
  }

  async #pause(failures: number): Promise<void> {
    const { clock, random } = this.#options;
    await this.#sleep(addSeconds(clock.now(), backoffSeconds(RETRY, failures, random())));
  }

  /** Until then, a change, or the end. */
  async #sleep(until: Date): Promise<void> {
    this.#paused = new AbortController();
    if (this.#closed.signal.aborted) return;
    await this.#options.clock.sleepUntil(until, this.#paused.signal).catch(() => {});
  }
}
