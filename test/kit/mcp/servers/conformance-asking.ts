/** The tools and the prompt of the official conformance suite whose server asks its client, for both eras. */
import { createHmac } from 'node:crypto';

const text = (value: string) => ({ content: [{ type: 'text' as const, text: value }] });

const SAMPLE = (prompt: unknown) => ({
  messages: [{ role: 'user', content: { type: 'text', text: String(prompt) } }],
  maxTokens: 100,
});
const form = (message: string, properties: object, required: readonly string[] = []) => ({
  message,
  requestedSchema: { type: 'object', properties, required },
});
const STRING = { type: 'string' };
const CONTACT = { username: STRING, email: STRING };
/** SEP-1034: a default for each primitive type. */
const DEFAULTS = {
  name: { type: 'string', default: 'John Doe' },
  age: { type: 'integer', default: 30 },
  score: { type: 'number', default: 95.5 },
  status: { type: 'string', enum: ['active', 'inactive', 'pending'], default: 'active' },
  verified: { type: 'boolean', default: true },
};
const titled = (name: string) => [
  { const: 'value1', title: `First ${name}` },
  { const: 'value2', title: `Second ${name}` },
  { const: 'value3', title: `Third ${name}` },
];
/** SEP-1330: the five ways to write a choice. */
const CHOICES = {
  untitledSingle: { type: 'string', enum: ['option1', 'option2', 'option3'] },
  titledSingle: { type: 'string', oneOf: titled('Option') },
  legacyEnum: {
    type: 'string',
    enum: ['opt1', 'opt2', 'opt3'],
    enumNames: ['Option One', 'Option Two', 'Option Three'],
  },
  untitledMulti: { type: 'array', items: { type: 'string', enum: ['option1', 'option2', 'option3'] } },
  titledMulti: { type: 'array', items: { anyOf: titled('Choice') } },
};

interface Question {
  readonly method: 'sampling/createMessage' | 'elicitation/create';
  readonly params: object;
  readonly says: string;
}
type Arguments = Readonly<Record<string, unknown>>;
/** Of the legacy era: what a tool asks before it answers. */
const LEGACY: Readonly<Record<string, (given: Arguments) => Question>> = {
  test_sampling: ({ prompt }) => ({
    ...{ method: 'sampling/createMessage', params: SAMPLE(prompt) },
    says: 'LLM response',
  }),
  test_elicitation: ({ message }) => ({
    ...{ method: 'elicitation/create', params: form(String(message), CONTACT, ['username', 'email']) },
    says: 'User response',
  }),
  test_elicitation_sep1034_defaults: () => ({
    ...{ method: 'elicitation/create', params: form('Please review', DEFAULTS) },
    says: 'Elicitation completed',
  }),
  test_elicitation_sep1330_enums: () => ({
    ...{ method: 'elicitation/create', params: form('Please choose', CHOICES) },
    says: 'Elicitation completed',
  }),
};
export const LEGACY_ASKING = Object.keys(LEGACY);

type Ask = (request: { readonly method: Question['method']; readonly params: object }) => Promise<unknown>;

/** Undefined for a tool that asks nothing. */
export async function askThenAnswer(name: string, given: Arguments, ask: Ask) {
  const question = LEGACY[name]?.(given);
  if (question === undefined) return undefined;
  const { method, params, says } = question;
  return text(`${says}: ${JSON.stringify(await ask({ method, params }))}`);
}

/** What a request of the modern era brings along. */
export interface Round {
  readonly answers: Readonly<Record<string, unknown>> | undefined;
  readonly state: string | undefined;
  readonly can: { readonly sampling?: unknown; readonly elicitation?: unknown };
}

const elicit = (message: string, properties: object) => ({
  method: 'elicitation/create',
  params: form(message, properties, Object.keys(properties)),
});
const WHO = { user_name: elicit('What is your name?', { name: STRING }) };
const CONFIRM = { confirm: elicit('Please confirm', { ok: { type: 'boolean' } }) };
const GREETING = { method: 'sampling/createMessage', params: SAMPLE('Generate a greeting') };
const ROOTS = { method: 'roots/list', params: {} };
const ask = (inputRequests: object, requestState?: string) => ({
  ...{ resultType: 'input_required' as const, inputRequests },
  ...(requestState === undefined ? {} : { requestState }),
});
const signed = (state: string) => `${state}:${createHmac('sha256', 'test').update(state).digest('hex')}`;

/** Throws unless this server made the state. */
export function verifyState(state: string): void {
  if (signed(state.split(':')[0] ?? '') !== state) throw new Error('the state was changed');
}

const has = ({ answers }: Round, questions: object) =>
  Object.keys(questions).every((key) => typeof answers?.[key] === 'object');

/** Asks these once, and knows by its state that it did. */
const once =
  (questions: object, state: string) =>
  (round: Round): object =>
    has(round, questions) && round.state === state ? text('done, state-ok') : ask(questions, state);

function inRounds(round: Round): object {
  const [first, second] = [signed('1'), signed('2')];
  if (round.state === undefined) return ask({ step1: elicit('Step 1', { name: STRING }) }, first);
  return round.state === first ? ask({ step2: elicit('Step 2', { color: STRING }) }, second) : text('done');
}

/** Asks what the client says it can answer. */
const asCan = ({ can }: Round): object =>
  ask({
    ...(can.sampling === undefined ? {} : { greeting: GREETING }),
    ...(can.elicitation === undefined ? {} : WHO),
  });

const stateless =
  (questions: object, done: object = text('done')) =>
  (round: Round): object =>
    has(round, questions) ? done : ask(questions);

const NAME = 'test_input_required_result';
export const MODERN_ASKING: Readonly<Record<string, (round: Round) => object>> = {
  [`${NAME}_elicitation`]: stateless(WHO),
  [`${NAME}_sampling`]: stateless({
    capital_question: { method: 'sampling/createMessage', params: SAMPLE('What is the capital of France?') },
  }),
  [`${NAME}_list_roots`]: stateless({ client_roots: ROOTS }),
  [`${NAME}_request_state`]: once(CONFIRM, signed('confirm')),
  [`${NAME}_multiple_inputs`]: once({ ...WHO, greeting: GREETING, client_roots: ROOTS }, signed('several')),
  [`${NAME}_multi_round`]: inRounds,
  [`${NAME}_tampered_state`]: once(CONFIRM, signed('tampered')),
  [`${NAME}_capabilities`]: asCan,
};
export const ASKING_PROMPT = `${NAME}_prompt`;
export const answerPrompt = stateless(
  { user_context: elicit('What context should the prompt use?', { context: STRING }) },
  { messages: [{ role: 'user', content: { type: 'text', text: 'in context' } }] },
);
