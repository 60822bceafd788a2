// A WebSocket over HTTP/2 (RFC 8441), as browsers open it: the greeting, and an answer to a ping.
import assert from 'node:assert/strict';
import http2 from 'node:http2';

const session = http2.connect(process.env.EDGE_URL);
await new Promise((resolve) => session.once('remoteSettings', resolve));
assert.equal(session.remoteSettings.enableConnectProtocol, true);
const stream = session.request({
  ':method': 'CONNECT', ':protocol': 'websocket', ':path': `/app/${process.env.APP_KEY}?protocol=7&client=js&version=8.6.0`, 'sec-websocket-version': '13',
});
const status = await new Promise((resolve, reject) => { stream.once('response', (h) => resolve(h[':status'])); stream.once('error', reject); });
assert.equal(status, 200);

let received = '';
const until = (text) => new Promise((resolve) => {
  const look = () => received.includes(text) && (stream.off('data', look), resolve());
  stream.on('data', look);
  look();
});
stream.on('data', (chunk) => { received += chunk.toString('latin1'); });
await until('pusher:connection_established');
const ping = Buffer.from('{"event":"pusher:ping","data":{}}');
stream.write(Buffer.concat([Buffer.from([0x81, 0x80 | ping.length, 0, 0, 0, 0]), ping])); // masked with zeros
await until('pusher:pong');
console.log('ok');
session.destroy();
