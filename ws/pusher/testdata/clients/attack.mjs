// Hard days of unmodified clients: sizes at the edges, floods, crowds, two apps whose channels have the same names, and a reload in the middle.
// The environment says where Edge is: EDGE_URL; APPS is JSON, a list of {appId, key, secret}; MEMBERS is how large the crowd is. At the line
// RELOAD the server reloads, and says so on the standard input.
import assert from 'node:assert/strict';
import readline from 'node:readline';
import PusherJS from 'pusher-js';
import Pusher from 'pusher';

const url = new URL(process.env.EDGE_URL);
const members = Number(process.env.MEMBERS);
const apps = JSON.parse(process.env.APPS).map((app) => ({ ...app, api: new Pusher({ ...app, host: url.hostname, port: url.port, useTLS: false }) }));
const [one, two] = apps;
const clients = [];

function client(app, user) {
  const c = new PusherJS(app.key, {
    cluster: 'any', wsHost: url.hostname, wsPort: url.port, forceTLS: false, enabledTransports: ['ws'], disableStats: true,
    channelAuthorization: {
      customHandler: ({ socketId, channelName }, done) => {
        const member = channelName.startsWith('presence-') ? { user_id: user, user_info: { name: `ü ${user}` } } : undefined;
        done(null, app.api.authorizeChannel(socketId, channelName, member));
      },
    },
  });
  c.drops = 0;
  c.connection.bind('state_change', ({ current }) => { if (current === 'unavailable' || current === 'failed') c.drops++; });
  c.errors = [];
  c.connection.bind('error', (e) => c.errors.push(e?.data?.code ?? e?.error?.data?.code));
  clients.push(c);
  return c;
}

const within = (what, promise, ms = 60000) => {
  let timer;
  return Promise.race([promise, new Promise((_, no) => { timer = setTimeout(() => no(new Error(`nothing of ${what}`)), ms); })]).finally(() => clearTimeout(timer));
};
const once = (target, event) => within(event, new Promise((yes) => target.bind(event, yes)));
const until = (what, is) => within(what, (async () => { while (!await is()) await new Promise((r) => setTimeout(r, 20)); })());

async function join(app, name, user) {
  const c = client(app, user);
  const channel = c.subscribe(name);
  await once(channel, 'pusher:subscription_succeeded');
  return { c, channel };
}

// Sizes where frames change their shape, and the limit of data, 10 KiB.
async function sizes() {
  const { channel } = await join(one, 'sizes');
  const got = new Map();
  channel.bind('e', (data) => got.set(Buffer.byteLength(data), data));
  const sent = [0, 1, 60, 61, 62, 63, 64, 65, 80, 81, 82, 83, 84, 85, 125, 126, 127, 128, 4095, 4096, 10238, 10239, 10240];
  for (const n of sent) await one.api.trigger('sizes', 'e', 'x'.repeat(n));
  for (const n of [10241, 20000]) {
    await assert.rejects(one.api.trigger('sizes', 'e', 'x'.repeat(n)), ({ status }) => status === 413);
  }
  for (const text of ['é'.repeat(5000), '\u0000\u2028"\\', '😀'.repeat(100)]) {
    await one.api.trigger('sizes', 'e', text);
    await until(`${text.length} characters`, () => got.get(Buffer.byteLength(text)) === text);
  }
  await until('all sizes', () => sent.every((n) => got.get(n) === 'x'.repeat(n)));
}

// Two apps with channels of the same name: nobody hears the other's.
async function strangers() {
  const [a, b] = [await join(one, 'private-same'), await join(two, 'private-same')];
  const heard = [];
  a.channel.bind('e', (d) => heard.push(`one ${d}`));
  b.channel.bind('e', (d) => heard.push(`two ${d}`));
  await one.api.trigger('private-same', 'e', 'for one');
  await two.api.trigger('private-same', 'e', 'for two');
  await until('both', () => heard.length === 2);
  assert.deepEqual(heard.sort(), ['one for one', 'two for two']);
}

// Who floods is told so, keeps the connection, and does not hold up others.
async function flood() {
  const [bad, good, listener] = [await join(one, 'private-flood', 'b'), await join(one, 'private-flood', 'g'), await join(one, 'private-flood', 'l')];
  let heard = 0;
  let fair = 0;
  listener.channel.bind('client-flood', () => heard++);
  listener.channel.bind('client-fair', () => fair++);
  for (let i = 0; i < 900; i++) bad.channel.trigger('client-flood', { i });
  good.channel.trigger('client-fair', {});
  await until('the fair one', () => fair === 1);
  await until('the flood is refused', () => bad.c.errors.length > 100);
  assert.ok(heard < 500, `${heard} of 900 events of a flood came through, 10 a second may`);
  assert.ok(bad.c.errors.every((code) => code === 4301), `errors ${[...new Set(bad.c.errors)]}`);
  assert.equal(bad.c.connection.state, 'connected');
}

// A crowd in one presence channel sees itself whole, through a reload, and sees half of it go.
async function crowd() {
  const name = 'presence-crowd';
  const there = [];
  for (let i = 0; i < members; i += 50) {
    there.push(...await Promise.all(Array.from({ length: Math.min(50, members - i) }, (_, k) => join(one, name, `user-${i + k}`))));
  }
  await until('everybody sees everybody', () => there.every(({ channel }) => channel.members.count === members));
  const { users } = await (await one.api.get({ path: `/channels/${name}/users` })).json();
  assert.equal(users.length, members);

  const got = there.map(() => []);
  there.forEach(({ channel }, i) => channel.bind('n', (d) => got[i].push(d)));
  const lines = readline.createInterface({ input: process.stdin });
  const reloaded = new Promise((yes) => lines.once('line', yes));
  let last = 0;
  console.log('RELOAD');
  let over = false;
  reloaded.then(() => { over = true; });
  while (!over || last < 20) await one.api.trigger(name, 'n', ++last);
  lines.close();
  await until('everything that was published', () => got.every((list) => list.length === last));
  const want = Array.from({ length: last }, (_, i) => i + 1);
  for (const list of got) assert.deepEqual(list, want);

  const half = there.splice(0, members / 2);
  for (const { c } of half) c.disconnect();
  await until('half of them have gone', () => there.every(({ channel }) => channel.members.count === there.length));
}

for (const attack of [sizes, strangers, flood, crowd]) {
  await attack();
  console.log(`ok ${attack.name}`);
}
assert.equal(clients.reduce((sum, c) => sum + c.drops, 0), 0, 'clients lost the server');
for (const c of clients) c.disconnect();
