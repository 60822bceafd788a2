// The back end of the test: what an application does with Pusher's own server library. It signs what front ends ask for, and
// takes webhooks.
import http from 'node:http';
import Pusher from 'pusher';

export function pusherOf(env) {
  const url = new URL(env.EDGE_URL);
  return new Pusher({
    appId: env.APP_ID, key: env.APP_KEY, secret: env.APP_SECRET,
    host: url.hostname, port: url.port, useTLS: url.protocol === 'https:',
    encryptionMasterKeyBase64: Buffer.alloc(32, 7).toString('base64'),
  });
}

export class Backend {
  webhooks = [];

  constructor(pusher) {
    this.pusher = pusher;
    this.server = http.createServer((req, res) => this.answer(req, res));
  }

  async answer(req, res) {
    let body = '';
    for await (const chunk of req) body += chunk;
    const form = new URLSearchParams(body);
    const user = req.headers['x-user'] || 'nobody';
    const reply = (status, value) => res.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
    switch (req.url) {
      case '/broadcasting/auth': {
        const channel = form.get('channel_name');
        if (channel.includes('forbidden')) return reply(403, {});
        if (channel.includes('forged')) return reply(200, { auth: `${this.pusher.config.token.key}:${'0'.repeat(64)}` });
        const data = channel.startsWith('presence-') ? { user_id: user, user_info: { name: user.toUpperCase() } } : undefined;
        return reply(200, this.pusher.authorizeChannel(form.get('socket_id'), channel, data));
      }
      case '/broadcasting/user-auth':
        return reply(200, this.pusher.authenticateUser(form.get('socket_id'), {
          id: user, user_info: { name: user }, watchlist: (req.headers['x-watch'] || '').split(',').filter(Boolean),
        }));
      case '/webhook': {
        const hook = this.pusher.webhook({ headers: req.headers, rawBody: body });
        if (!hook.isValid()) return reply(400, {});
        this.webhooks.push(...hook.getEvents());
        return reply(200, {});
      }
    }
    reply(404, {});
  }

  listen(port) {
    return new Promise((resolve) => this.server.listen(port, '127.0.0.1', resolve));
  }

  // webhook waits for an event that fits.
  webhook(want) {
    return until(`webhook ${JSON.stringify(want)}; there were ${JSON.stringify(this.webhooks)}`, () =>
      this.webhooks.find((e) => Object.entries(want).every(([k, v]) => e[k] === v)));
  }
}

// until polls for what gives no signal.
export async function until(what, done, ms = 20000) {
  for (const end = Date.now() + ms; Date.now() < end; ) {
    const value = await done();
    if (value) return value;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`waited in vain: ${what}`);
}
