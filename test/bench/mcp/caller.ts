/** One legacy MCP session over keep-alive HTTP that calls echo, with as little in the way of the clock as can be. */
import http from 'node:http';
import https from 'node:https';

export interface Target {
  readonly agent: http.Agent | https.Agent;
  readonly port: number;
}

export class McpCaller {
  readonly #target: Target;
  #session = '';
  #id = 0;

  private constructor(target: Target) {
    this.#target = target;
  }

  static async open(target: Target): Promise<McpCaller> {
    const caller = new McpCaller(target);
    const clientInfo = { name: 'bench', version: '1' };
    const params = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo };
    const { session, text } = await caller.#post({
      jsonrpc: '2.0',
      id: 'first',
      method: 'initialize',
      params,
    });
    if (session === '') throw new Error(`no session: ${text}`);
    caller.#session = session;
    await caller.#post({ jsonrpc: '2.0', method: 'notifications/initialized' });
    return caller;
  }

  /** One after the other; how long each took, in milliseconds. */
  async calls(count: number): Promise<number[]> {
    const times: number[] = [];
    for (let call = 0; call < count; call += 1) {
      const started = performance.now();
      await this.#echo();
      times.push(performance.now() - started);
    }
    return times;
  }

  /** Calls a second. */
  async flood(count: number, parallel: number): Promise<number> {
    const started = performance.now();
    await Promise.all(Array.from({ length: parallel }, () => this.calls(count / parallel)));
    return (count * 1000) / (performance.now() - started);
  }

  async #echo(): Promise<void> {
    this.#id += 1;
    const id = this.#id;
    const params = { name: 'echo', arguments: { message: `number ${id}` } };
    const { text } = await this.#post({ jsonrpc: '2.0', id, method: 'tools/call', params });
    if (!text.includes(`Echo: number ${id}`)) throw new Error(`another answer: ${text}`);
  }

  #post(message: object): Promise<{ text: string; session: string }> {
    const body = JSON.stringify(message);
    const { agent, port } = this.#target;
    const headers = {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      'content-length': Buffer.byteLength(body),
      ...(this.#session === ''
        ? {}
        : { 'mcp-session-id': this.#session, 'mcp-protocol-version': '2025-11-25' }),
    };
    const { request } = agent instanceof https.Agent ? https : http;
    return new Promise((resolve, reject) => {
      const outgoing = request({ host: '127.0.0.1', port, path: '/mcp', method: 'POST', agent, headers });
      outgoing.on('error', reject);
      outgoing.on('response', (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (chunk: string) => {
          text += chunk;
        });
        const session = String(response.headers['mcp-session-id'] ?? '');
        response.on('end', () => resolve({ text, session }));
      });
      outgoing.end(body);
    });
  }
}
