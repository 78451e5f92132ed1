/** Plays a model behind OpenAI's Responses API, for agents' SDKs: it asks for the calls that it is told, in order. */
import { serve } from '../../http/served.ts';

export type Turn = { readonly tool: string; readonly args: object } | { readonly says: string };

export interface PlayedModel {
  /** For `OPENAI_BASE_URL`. */
  readonly url: string;
  /** Names of the tools of the newest request. */
  readonly tools: readonly string[];
  /** What the tools gave, in the order of the calls, as the newest request says. */
  readonly outputs: readonly string[];
  close(): Promise<void>;
}

interface Asked {
  readonly tools?: readonly { readonly name: string }[];
  readonly input: readonly { readonly type?: string; readonly output?: unknown }[];
}

/** The last turn is repeated. The caller closes it. */
export async function playModel(turns: readonly Turn[]): Promise<PlayedModel> {
  let [tools, outputs]: [readonly string[], readonly string[]] = [[], []];
  let asked = 0;
  const served = await serve(({ body }) => {
    const request = JSON.parse(body.toString()) as Asked;
    tools = (request.tools ?? []).map(({ name }) => name);
    outputs = request.input
      .filter(({ type }) => type === 'function_call_output')
      .map(({ output }) => JSON.stringify(output));
    const turn = turns[Math.min(asked, turns.length - 1)] ?? { says: '' };
    asked += 1;
    const headers = { 'content-type': 'application/json' };
    return { status: 200, headers, body: JSON.stringify(response(turn, asked)) };
  });
  return {
    url: served.url,
    get tools() {
      return tools;
    },
    get outputs() {
      return outputs;
    },
    close: () => served.close(),
  };
}

function response(turn: Turn, number: number): object {
  const output =
    'tool' in turn
      ? {
          type: 'function_call',
          id: `fc_${number}`,
          call_id: `call_${number}`,
          name: turn.tool,
          arguments: JSON.stringify(turn.args),
          status: 'completed',
        }
      : {
          type: 'message',
          id: `msg_${number}`,
          role: 'assistant',
          status: 'completed',
          content: [{ type: 'output_text', text: turn.says, annotations: [] }],
        };
  return {
    id: `resp_${number}`,
    object: 'response',
    created_at: 0,
    model: 'played',
    status: 'completed',
    output: [output],
    usage: {
      input_tokens: 0,
      output_tokens: 0,
      total_tokens: 0,
      input_tokens_details: { cached_tokens: 0 },
      output_tokens_details: { reasoning_tokens: 0 },
    },
  };
}
