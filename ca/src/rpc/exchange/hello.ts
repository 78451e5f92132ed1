/** The first message of an exchange and of a trust stream. */
import { ensure } from '@chancery/shared/ground/errors.ts';

/** Time to the first message: a silent stream holds one of its address's places. */
const HELLO_SECONDS = 10;
const INSTANCE_BYTES = 16;

interface First<H> {
  readonly message?:
    | { readonly $case: 'hello'; readonly value: H }
    | { readonly $case: 'evidence' | 'ack'; readonly value: unknown }
    | undefined;
}

/** Waits for the hello, at most 10 s. Throws deadline, message_parse, and out_of_order for another message. */
export async function readHello<H extends { readonly instance: Uint8Array }>(stream: {
  read(seconds: number): Promise<First<H> | undefined>;
}): Promise<H> {
  const first = (await stream.read(HELLO_SECONDS))?.message;
  ensure(first?.$case === 'hello', 'out_of_order', `expected hello, found ${first?.$case ?? 'nothing'}`);
  const { instance } = first.value;
  ensure(instance.length === INSTANCE_BYTES, 'message_parse', `instance is ${instance.length} bytes, not 16`);
  return first.value;
}
