// What front ends do with unmodified pusher-js and laravel-echo against Edge, and back ends with the server library of Pusher.
// The environment says where Edge is: EDGE_URL, APP_ID, APP_KEY, APP_SECRET; PORT is where its webhooks go.
import assert from 'node:assert/strict';
import PusherJS from 'pusher-js';
import Echo from 'laravel-echo';
import nacl from 'tweetnacl';
import { Backend, pusherOf, until } from './backend.mjs';

const env = process.env;
const url = new URL(env.EDGE_URL);
const tls = url.protocol === 'https:';
const app = `http://127.0.0.1:${env.PORT}`;
const api = pusherOf(env);
const backend = new Backend(api);
const open = [];

const options = (user, watch = '') => ({
  cluster: 'any', wsHost: url.hostname, wsPort: url.port, wssPort: url.port, forceTLS: tls, enabledTransports: ['ws', 'wss'], disableStats: true, nacl,
  channelAuthorization: { endpoint: `${app}/broadcasting/auth`, headers: { 'X-User': user } },
  userAuthentication: { endpoint: `${app}/broadcasting/user-auth`, headers: { 'X-User': user, 'X-Watch': watch } },
});

function pusher(user = 'nobody', watch) {
  const client = new PusherJS(env.APP_KEY, options(user, watch));
  open.push(() => client.disconnect());
  return client;
}

function echo(user, broadcaster = 'pusher') {
  const client = new Echo({
    broadcaster, Pusher: PusherJS, key: env.APP_KEY, ...options(user),
    authEndpoint: `${app}/broadcasting/auth`, auth: { headers: { 'X-User': user } }, withoutInterceptors: true,
  });
  open.push(() => client.disconnect());
  return client;
}

// once waits for an event of anything with bind.
const once = (target, event) => within(`${event}`, new Promise((resolve) => {
  const handler = (data, meta) => { target.unbind(event, handler); resolve(meta?.user_id ? { data, user: meta.user_id } : data); };
  target.bind(event, handler);
}));

// heard waits for a callback of Echo.
const heard = (what, register) => within(what, new Promise((resolve) => register(resolve)));

function within(what, promise, ms = 20000) {
  let timer;
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error(`nothing heard of ${what}`)), ms); });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

const subscribed = (channel) => (channel.subscribed ? Promise.resolve(channel.members) : once(channel, 'pusher:subscription_succeeded'));
const connected = (client) => (client.connection.state === 'connected' ? Promise.resolve() : once(client.connection, 'connected'));

const tests = {
  async 'public channel, and the sender left out'() {
    const [a, b] = [pusher(), pusher()];
    const [ca, cb] = [a.subscribe('news'), b.subscribe('news')];
    await Promise.all([subscribed(ca), subscribed(cb)]);
    let echoed = 0;
    cb.bind('posted', () => echoed++);
    const got = once(ca, 'posted');
    const response = await api.trigger(['news', 'elsewhere'], 'posted', { id: 7, text: 'é "quoted"' }, { socket_id: b.connection.socket_id });
    assert.equal(response.status, 200);
    assert.deepEqual(await got, { id: 7, text: 'é "quoted"' });
    const later = once(cb, 'later');
    await api.trigger('news', 'later', 'plain');
    assert.equal(await later, 'plain');
    assert.equal(echoed, 0);
    a.unsubscribe('news');
    await until('the end of a subscription', async () => (await (await api.get({ path: '/channels/news', params: { info: 'subscription_count' } })).json()).subscription_count === 1);
  },

  async 'batch'() {
    const c = pusher().subscribe('batched');
    await subscribed(c);
    const [one, two] = [once(c, 'one'), once(c, 'two')];
    await api.triggerBatch([{ channel: 'batched', name: 'one', data: { n: 1 } }, { channel: 'batched', name: 'two', data: { n: 2 } }]);
    assert.deepEqual([await one, await two], [{ n: 1 }, { n: 2 }]);
  },

  async 'private channel and client events'() {
    const [a, b] = [pusher('ada'), pusher('bob')];
    const [ca, cb] = [a.subscribe('private-talk'), b.subscribe('private-talk')];
    await Promise.all([subscribed(ca), subscribed(cb)]);
    const got = once(cb, 'client-typing');
    assert.equal(ca.trigger('client-typing', { on: true }), true);
    assert.deepEqual(await got, { on: true });
    await backend.webhook({ name: 'client_event', channel: 'private-talk', event: 'client-typing', data: '{"on":true}', socket_id: a.connection.socket_id });
  },

  async 'refused subscriptions'() {
    const client = pusher();
    const forbidden = once(client.subscribe('private-forbidden'), 'pusher:subscription_error');
    assert.equal((await forbidden).status, 403); // by the back end
    const forged = once(client.subscribe('private-forged'), 'pusher:subscription_error');
    const error = await forged; // by Edge
    assert.equal(error.type, 'AuthError');
    assert.equal(error.status, 401);
  },

  async 'presence'() {
    const [a, b] = [pusher('ada'), pusher('bob')];
    const room = a.subscribe('presence-room');
    const members = await subscribed(room);
    assert.equal(members.count, 1);
    assert.deepEqual(members.me, { id: 'ada', info: { name: 'ADA' } });
    const added = once(room, 'pusher:member_added');
    const theirs = b.subscribe('presence-room');
    await subscribed(theirs);
    assert.deepEqual(await added, { id: 'bob', info: { name: 'BOB' } });
    const wave = once(theirs, 'client-wave');
    room.trigger('client-wave', { hi: 1 });
    assert.deepEqual(await wave, { data: { hi: 1 }, user: 'ada' });
    assert.deepEqual(await (await api.get({ path: '/channels/presence-room/users' })).json(), { users: [{ id: 'ada' }, { id: 'bob' }] });
    const removed = once(room, 'pusher:member_removed');
    b.disconnect();
    assert.equal((await removed).id, 'bob');
    await backend.webhook({ name: 'channel_occupied', channel: 'presence-room' });
    await backend.webhook({ name: 'member_added', channel: 'presence-room', user_id: 'bob' });
    await backend.webhook({ name: 'member_removed', channel: 'presence-room', user_id: 'bob' });
  },

  async 'encrypted channel'() {
    const c = pusher().subscribe('private-encrypted-safe');
    await subscribed(c);
    const got = once(c, 'secret');
    await api.trigger('private-encrypted-safe', 'secret', { pin: 1234 });
    assert.deepEqual(await got, { pin: 1234 });
  },

  async 'cache channel'() {
    const first = pusher().subscribe('cache-price');
    await once(first, 'pusher:cache_miss');
    await backend.webhook({ name: 'cache_miss', channel: 'cache-price' });
    await api.trigger('cache-price', 'changed', { eur: 3 });
    assert.deepEqual(await once(pusher().subscribe('cache-price'), 'changed'), { eur: 3 });
    const info = await (await api.get({ path: '/channels/cache-price', params: { info: 'cache' } })).json();
    assert.equal(info.cache.data, '{"eur":3}');
  },

  async 'sign-in, messages to users, termination'() {
    const client = pusher('carol');
    client.signin();
    const hello = once(client.user, 'hello');
    await until('the channel of the user', async () => client.user.serverToUserChannel?.subscribed);
    await api.sendToUser('carol', 'hello', { you: true });
    assert.deepEqual(await hello, { you: true });
    const gone = once(client.connection, 'disconnected');
    await api.terminateUserConnections('carol');
    await gone;
  },

  async 'watchlist'() {
    const dan = pusher('dan', 'erin,frank');
    const offline = once(dan.user.watchlist, 'offline');
    dan.signin();
    assert.deepEqual((await offline).user_ids, ['erin', 'frank']);
    const online = once(dan.user.watchlist, 'online');
    const erin = pusher('erin');
    erin.signin();
    assert.deepEqual((await online).user_ids, ['erin']);
    const left = once(dan.user.watchlist, 'offline');
    erin.disconnect();
    assert.deepEqual((await left).user_ids, ['erin']);
  },

  async 'subscription count'() {
    const c = pusher().subscribe('counted');
    assert.equal((await once(c, 'pusher:subscription_count')).subscription_count, 1);
    const two = once(c, 'pusher:subscription_count');
    pusher().subscribe('counted');
    assert.equal((await two).subscription_count, 2);
    assert.equal(c.subscriptionCount, 2);
  },

  async 'ping'() {
    const client = pusher();
    await connected(client);
    const pong = once(client.connection, 'message');
    client.connection.send_event('pusher:ping', {});
    assert.equal((await pong).event, 'pusher:pong');
  },

  async 'unknown app'() {
    const client = new PusherJS('unknown', options('nobody'));
    open.push(() => client.disconnect());
    const error = await once(client.connection, 'error');
    assert.equal((error.error ?? error).data.code, 4001);
    await until('no more attempts', () => client.connection.state === 'disconnected' || client.connection.state === 'failed');
  },

  async 'list of channels'() {
    const c = pusher('x').subscribe('presence-listed');
    await subscribed(c);
    const { channels } = await (await api.get({ path: '/channels', params: { filter_by_prefix: 'presence-', info: 'user_count' } })).json();
    assert.deepEqual(channels['presence-listed'], { user_count: 1 });
    await assert.rejects(api.get({ path: '/channels', params: { info: 'user_count' } }), { status: 400 });
    await assert.rejects(pusherOf({ ...env, APP_SECRET: 'another secret' }).trigger('a', 'b', 'c'), { status: 401 });
    await assert.rejects(api.trigger('a', 'b', 'x'.repeat(11 * 1024)), { status: 413 });
  },

  async 'Echo with broadcaster reverb'() { await withEcho('reverb'); },

  async 'Echo with broadcaster pusher'() { await withEcho('pusher'); },
};

async function withEcho(broadcaster) {
  const room = `room.${broadcaster}`;
  const [ada, bob] = [echo('ada', broadcaster), echo('bob', broadcaster)];

  const orders = ada.channel('orders');
  await heard('subscribed', (f) => orders.subscribed(f));
  const shipped = heard('OrderShipped', (f) => orders.listen('OrderShipped', f));
  const raw = heard('.raw', (f) => orders.listen('.raw', f));
  await api.trigger('orders', 'App\\Events\\OrderShipped', { id: 1 });
  await api.trigger('orders', 'raw', { id: 2 });
  assert.deepEqual([await shipped, await raw], [{ id: 1 }, { id: 2 }]);

  const [here, joining, leaving, whisper, notified, wrong] = [
    heard('here', (f) => { ada.join(room).here(f); }), heard('joining', (f) => { ada.join(room).joining(f); }),
    heard('leaving', (f) => { ada.join(room).leaving(f); }), heard('whisper', (f) => { ada.join(room).listenForWhisper('typing', f); }),
    heard('notification', (f) => { ada.private('users.1').notification(f); }), heard('error', (f) => { ada.private('forged').error(f); }),
  ];
  assert.deepEqual(await here, [{ name: 'ADA' }]);
  const theirs = bob.join(room);
  await heard('subscribed', (f) => theirs.subscribed(f));
  assert.deepEqual(await joining, { name: 'BOB' });
  theirs.whisper('typing', { name: 'bob' });
  assert.deepEqual(await whisper, { name: 'bob' });
  await until('a private subscription', async () => ada.private('users.1').subscription.subscribed);
  await api.trigger('private-users.1', 'Illuminate\\Notifications\\Events\\BroadcastNotificationCreated', { type: 'paid' });
  assert.deepEqual(await notified, { type: 'paid' });
  assert.equal((await wrong).status, 401);

  const safe = ada.encryptedPrivate('vault');
  await heard('subscribed', (f) => safe.subscribed(f));
  const opened = heard('encrypted', (f) => safe.listen('.opened', f));
  await api.trigger('private-encrypted-vault', 'opened', { by: 'ada' });
  assert.deepEqual(await opened, { by: 'ada' });

  bob.leave(room);
  assert.deepEqual(await leaving, { name: 'BOB' });
  assert.match(ada.socketId(), /^\d+\.\d+$/);
}

await backend.listen(env.PORT);
let failed = 0;
for (const [name, test] of Object.entries(tests)) {
  const began = Date.now();
  try {
    await test();
    console.log(`ok ${name} (${Date.now() - began} ms)`);
  } catch (error) {
    failed++;
    console.log(`FAILED ${name}: ${error.stack}`);
  }
  for (const close of open.splice(0)) close();
}
process.exit(failed ? 1 : 0);
