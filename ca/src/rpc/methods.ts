/** The CA's methods: what every gRPC door shares, for callers of the CA. */
import { methodsFor } from '@chancery/shared/rpc/handler.ts';
import type { Stream as RpcStream } from '@chancery/shared/rpc/stream.ts';
import type { Caller } from './caller.ts';

export type Stream<Req, Res> = RpcStream<Req, Res, Caller>;

export const { unary, serverStream, bidi } = methodsFor<Caller>();
