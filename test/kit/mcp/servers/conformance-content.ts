/** The resources, prompts and completions that the official conformance suite asks for, whatever SDK serves them. */
import {
  CompleteRequestSchema,
  GetPromptRequestSchema,
  ListPromptsRequestSchema,
  ListResourcesRequestSchema,
  ListResourceTemplatesRequestSchema,
  ReadResourceRequestSchema,
} from '@modelcontextprotocol/sdk/types.js';

export const CONTENT_CAPABILITIES = { resources: {}, prompts: {}, completions: {} };

const PNG = 'iVBORw0KGgo=';
const STATIC = {
  'test://static-text': {
    mimeType: 'text/plain',
    text: 'This is the content of the static text resource.',
  },
  'test://static-binary': { mimeType: 'image/png', blob: PNG },
  'test://watched-resource': { mimeType: 'text/plain', text: 'watched' },
};
const TEMPLATE = 'test://template/{id}/data';

const says = (text: string) => ({ role: 'user' as const, content: { type: 'text' as const, text } });
type Arguments = Readonly<Record<string, string>>;
const PROMPTS: Readonly<
  Record<string, { names: readonly string[]; messages: (given: Arguments) => object[] }>
> = {
  test_simple_prompt: { names: [], messages: () => [says('This is a simple prompt for testing.')] },
  test_prompt_with_arguments: {
    names: ['arg1', 'arg2'],
    messages: ({ arg1, arg2 }) => [says(`Prompt with arguments: arg1='${arg1}', arg2='${arg2}'`)],
  },
  test_prompt_with_embedded_resource: {
    names: ['resourceUri'],
    messages: ({ resourceUri: uri }) => {
      const resource = { uri, mimeType: 'text/plain', text: 'Embedded resource content for testing.' };
      const embedded = { role: 'user', content: { type: 'resource', resource } };
      return [embedded, says('Please process the embedded resource above.')];
    },
  },
  test_prompt_with_image: {
    names: [],
    messages: () => [
      { role: 'user', content: { type: 'image', data: PNG, mimeType: 'image/png' } },
      says('Please analyze the image above.'),
    ],
  },
};

/** Parameters of any of these methods. */
export interface Asked {
  readonly uri?: string;
  readonly name?: string;
  readonly arguments?: Arguments;
  readonly argument?: { readonly value: string };
}

function read(uri: string): object {
  const known = Object.entries(STATIC).find(([each]) => each === uri);
  if (known !== undefined) return { contents: [{ uri, ...known[1] }] };
  const id = /^test:\/\/template\/([^/]+)\/data$/.exec(uri)?.[1];
  // JSON-RPC's code of a resource that is not there.
  if (id === undefined) throw Object.assign(new Error('Resource not found'), { code: -32002 });
  const text = JSON.stringify({ id, templateTest: true, data: `Data for ID: ${id}` });
  return { contents: [{ uri, mimeType: 'application/json', text }] };
}

function get({ name = '', arguments: given = {} }: Asked): object {
  const prompt = PROMPTS[name];
  if (prompt === undefined) throw Object.assign(new Error(`there is no prompt ${name}`), { code: -32602 });
  return { messages: prompt.messages(given) };
}

/** By method: the schema of the first SDK, and the answer. */
export const CONTENT = {
  'resources/list': [
    ListResourcesRequestSchema,
    () => ({ resources: Object.keys(STATIC).map((uri) => ({ uri, name: uri })) }),
  ],
  'resources/templates/list': [
    ListResourceTemplatesRequestSchema,
    () => ({
      resourceTemplates: [{ uriTemplate: TEMPLATE, name: 'template', mimeType: 'application/json' }],
    }),
  ],
  'resources/read': [ReadResourceRequestSchema, ({ uri = '' }: Asked) => read(uri)],
  'prompts/list': [
    ListPromptsRequestSchema,
    () => ({
      prompts: Object.entries(PROMPTS).map(([name, { names }]) => ({
        ...{ name, description: name },
        arguments: names.map((each) => ({ name: each, required: true })),
      })),
    }),
  ],
  'prompts/get': [GetPromptRequestSchema, get],
  'completion/complete': [
    CompleteRequestSchema,
    ({ argument = { value: '' } }: Asked) => {
      const values = ['paris', 'park', 'party'].filter((each) => each.startsWith(argument.value));
      return { completion: { values, total: values.length, hasMore: false } };
    },
  ],
} as const;
