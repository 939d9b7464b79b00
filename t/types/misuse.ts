/* Mistakes that the types are there to find: each of these is one. */

import { Chat, Cursors, PubSub, Signal, Snorky, SnorkyError } from 'snorky';


const snorky = new Snorky('/ws', { news: PubSub, room: Chat, sheet: Cursors });
const { news, room, sheet } = snorky.services;

// @ts-expect-error: there is no such service
snorky.services.mail.send();

// @ts-expect-error: a class, not an object
new Snorky('/ws', { news });

// @ts-expect-error: no address
new Snorky({ news: PubSub });

// @ts-expect-error: no such option
new Snorky('/ws', { news: PubSub }, { recconnect: false });

// @ts-expect-error: no such transport
new Snorky('/ws', { news: PubSub }, { transport: 'polling' });

// @ts-expect-error: it can't be set
snorky.isConnected = true;

// @ts-expect-error: another state
snorky.state.state === 'connected';

// @ts-expect-error: no channel
news.subscribe({});

// @ts-expect-error: misspelt
news.subscribe({ chanel: 'a' });

// @ts-expect-error: no message
news.publish({ channel: 'a' });

// @ts-expect-error: not a number of milliseconds
news.publish({ channel: 'a', message: 1 }, { timeout: '1s' });

// @ts-expect-error: a channel of texts
news.channel<string>('a').publish(1);

// @ts-expect-error: it is asynchronous
for (const message of news.channel('a')) {
    console.log(message);
}

// @ts-expect-error: members are texts
room.join({ channel: 'a' }).then(({ members }) => members[0].toFixed());

// @ts-expect-error: no such thing can be changed
sheet.join({ document: 1 }).then((it) => it.createCursor({ colour: 1 }));

// @ts-expect-error: no such listener
snorky.stateChanged.add((state: string) => state.length);

// @ts-expect-error: something is missing
new Signal<[a: number, b: number]>().dispatch(1);

// @ts-expect-error: no such code
new SnorkyError('late', 'text');
