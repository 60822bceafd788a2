// Listens with the EventSource of npm, as a browser would, and prints what comes as lines of JSON. It comes back by itself when the
// stream is lost, with the id of the last event.
//
//   HUB      URL with selectors
//   TOKEN    in a header
//   COOKIE   in a cookie
//   TYPES    of events, beside message
import {EventSource} from 'eventsource'

const {HUB, TOKEN, COOKIE, TYPES} = process.env
const print = (line) => process.stdout.write(JSON.stringify(line) + '\n')

const source = new EventSource(HUB, {
  withCredentials: true,
  fetch: (url, init) => {
    const headers = {...init.headers}
    if (TOKEN) headers.Authorization = `Bearer ${TOKEN}`
    if (COOKIE) headers.Cookie = COOKIE
    return fetch(url, {...init, headers})
  },
})
source.addEventListener('open', () => print({open: true}))
source.addEventListener('error', (e) => print({error: e.code ?? 0, closed: source.readyState === EventSource.CLOSED}))
const show = (e) => print({id: e.lastEventId, type: e.type, data: e.data})
source.addEventListener('message', show)
for (const type of TYPES ? TYPES.split(',') : []) source.addEventListener(type, show)
process.stdin.on('end', () => { source.close(); process.exit(0) })
process.stdin.resume()
