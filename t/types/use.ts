/*
 * All that snorky.d.ts has, used once; t/js_types.t compiles it.  It is never
 * run: t/types/walk.js compares names with what there is at run time.
 */

import Default, {
    ArrayCollection, Chat, CollectionDeltaProcessor, Cursor, Cursors, DataSync,
    Document, ForeignCursor, Messaging, OwnCursor, PubSub, RPCService, Service,
    Signal, SingleItemCollection, Snorky, SnorkyError,
} from 'snorky';
import type {
    Binding, CallOptions, Channel, ChatMessage, Collection, CollectionIterator,
    Delta, ErrorCode, Json, Kept, Letter, Options, Participant, Presence,
    Publication, Read, Room, Services, ServiceClasses, Socket, SocketClass,
    State, StreamOptions, Subscription, Url,
} from 'snorky';


declare const socketClass: SocketClass;

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends
    (<T>() => T extends B ? 1 : 2) ? true : false;

function is<_ extends true>(): void {
}


class Game extends RPCService {
    declare score: (params: { points: number }, options?: CallOptions) =>
        Promise<number>;
    moved!: Signal<[x: number, y: number]>;

    init(): void {
        super.init();
        this.moved = new Signal();
        this.notificationReceived.add((message) => console.log(message));
    }

    onPacket(message: any): void {
        super.onPacket(message);
    }

    onNotification(message: any): void {
        this.moved.dispatch(message.x, message.y);
    }
}

Game.addRPCMethods(['score']);


const classes = {
    news: PubSub, mail: Messaging, room: Chat, sheet: Cursors, rows: DataSync,
    game: Game, echo: Service,
};

const url: Url = async () => new URL('wss://example.com/ws');
const options: Options = {
    WebSocket: socketClass,
    protocols: ['a', 'b'],
    SockJS: socketClass,
    sockjsUrl: '/sockjs',
    sockjsOptions: { transports: ['xhr-polling'] },
    transport: 'sockjs',
    autoConnect: false,
    reconnect: true,
    resume: true,
    minWait: 100,
    maxWait: 1000,
    connectTimeout: 1000,
    timeout: 0,
    silence: 0,
    probeTimeout: 1000,
};

const snorky = new Snorky(url, classes, options);
const { news, mail, room, sheet, rows, game, echo } = snorky.services;

is<Same<typeof news, PubSub>>();
is<Same<typeof game, Game>>();
is<Same<typeof snorky.services, Services<typeof classes>>>();
is<Same<typeof Default, typeof Snorky>>();


async function client(): Promise<void> {
    new Snorky('/ws', {});
    new Snorky(new URL('wss://example.com'), { news: PubSub });
    new Snorky(socketClass, 'ws://example.com', classes, { silence: 0 })
        .services.news.publish({ channel: 1, message: 2 });

    const states: boolean[] = [snorky.isConnected, snorky.isConnecting];
    const socket: Socket | null = snorky.socket;
    const state: State = snorky.state;
    const transport: 'websocket' | 'sockjs' = snorky.transport;

    snorky.connected.add(() => states.push(true));
    snorky.resumed.addOnce(() => {});
    snorky.disconnected.add(({ code, reason, wasOpen }) =>
        [code, reason, wasOpen]);
    snorky.stateChanged.add(({ state: now, status, wait }) => {
        if (now === 'refused') {
            console.log(status, wait, state, socket, transport);
        }
    });

    snorky.connect();
    snorky.restart();
    snorky.disconnect();
    await snorky.ready({ timeout: 1000, signal: AbortSignal.timeout(1) });
    snorky.close();

    const all: ServiceClasses = {
        a: Snorky.Service, b: Snorky.RPCService, c: Snorky.PubSub,
        d: Snorky.Messaging, e: Snorky.Chat, f: Snorky.Cursors,
        g: Snorky.DataSync,
    };

    new Snorky('/ws', all);
    await new Snorky.Promise<void>((done) => done());
    new Snorky.Signal().dispatch();
    Snorky.Class(Snorky.RPCService, { STATIC: {}, init(): void {} });

    try {
        throw new Snorky.SnorkyError('timeout', 'late');

    } catch (error) {
        if (error instanceof SnorkyError) {
            const code: ErrorCode = error.code;
            const text: string = code + error.message;

            console.log(text);
        }
    }
}


async function services(): Promise<void> {
    echo.sendMessage({ any: 'thing' });
    echo.packetReceived.add((message) => console.log(message));
    new Service(echo.name, echo.snorky).init();

    const answer: any = await game.rpcCall('score', { points: 1 },
                                           { timeout: 1 });
    const points: number = await game.score({ points: 1 });

    game.moved.dispatch(1, 2);
    game.resumed.add(({ command, params, data }) => [command, params, data]);
    game.lost.add(({ command, params, error }: Kept & { error: Error }) =>
        [command, params, error.message, answer, points]);
}


async function pubsub(): Promise<void> {
    const limits: StreamOptions = { limit: 10, signal: AbortSignal.abort() };
    const channel: Channel<string> = news.channel<string>(['a'], limits);

    await news.subscribe({ channel: 'a' }, { timeout: 1 });
    await news.unsubscribe({ channel: 'a' });
    await news.publish({ channel: 'a', message: null });
    await channel.publish('text');
    news.messagePublished.add(({ channel: of, message }: Publication) =>
        [of, message]);

    for await (const text of channel) {
        text.toUpperCase();
    }
}


async function messaging(): Promise<void> {
    const ada: Participant<number> = mail.participant<number>('ada');

    await mail.registerParticipant({ name: 'ada' });
    await mail.unregisterParticipant({ name: 'ada' });
    await mail.send({ sender: 'ada', dest: 'bob', body: 1 });
    (await mail.listParticipants()).map(String);
    await ada.send('bob', 1);
    mail.messageReceived.add(({ sender, dest, body }: Letter) =>
        [sender, dest, body]);

    for await (const { body } of ada) {
        body.toFixed();
    }
}


async function chat(): Promise<void> {
    const lobby: Room<string> = room.room<string>('lobby');
    const { members } = await room.join({ channel: 'lobby' });
    const names: string[] = members;

    await room.leave({ channel: 'lobby' });
    await room.send({ channel: 'lobby', body: names });
    await room.read({ channel: 'lobby' });
    await lobby.send('hi');
    await lobby.read({ timeout: 1 });
    room.messageReceived.add(({ from }: ChatMessage) => from);
    room.presenceReceived.add(({ status }: Presence) => status);
    room.readReceived.add(({ timestamp }: Read) => timestamp);

    for await (const told of lobby) {
        if (told.type === 'message') {
            told.body.trim();

        } else if (told.type === 'presence') {
            const status: 'joined' | 'left' = told.status;

            console.log(status);
        }
    }
}


async function cursors(): Promise<void> {
    const sheets: [
        typeof Cursor, typeof ForeignCursor, typeof OwnCursor, typeof Document,
    ] = [
        Cursors.Cursor, Cursors.ForeignCursor, Cursors.OwnCursor,
        Cursors.Document,
    ];
    const document: Document = await sheet.join({ document: 1 });
    const [own, created] = document.createCursor({ position: 1, status: 2 });
    const service: Cursors = document.service;

    await created;
    await own.update({ position: 2 });
    await own.remove();
    await document.leave();
    await service.leave({ document: document.name });

    document.cursorAdded.add((cursor) => cursor.owner);
    document.cursorUpdated.add((cursor) => cursor.position);
    document.cursorRemoved.add((cursor) => cursor.publicHandle);

    for (const cursor of document.cursors) {
        if (cursor.isMine) {
            console.log(cursor.removed, cursor.privateHandle, cursor.document,
                        cursor.isSynchronized(), cursor.toJSON(), sheets);
        } else {
            console.log(cursor.owner, cursor.status);
        }
    }
}


async function datasync(): Promise<void> {
    const players: { id: number }[] = [];
    const array = new ArrayCollection(players, {
        transformItem: (item: { id: string }) => ({ id: Number(item.id) }),
    });
    const single = new SingleItemCollection(() => players[0]!,
                                            (item) => { players[0] = item; });
    const collection: Collection = single;
    const processor = new CollectionDeltaProcessor({
        player: array, ship: { red: collection },
    }, {
        itemsAreEqual: (item, now, delta) => item.id === now.id
                                             && delta.type !== 'insert',
    });
    const iterator: CollectionIterator<{ id: number }> = array.getIterator();

    while (iterator.hasNext()) {
        iterator.next();
        iterator.update({ id: 1 });
        iterator.remove();
    }

    array.insert({ id: '1' });
    console.log(array.array, DataSync.Collection, DataSync.ArrayCollection,
                DataSync.SingleItemCollection,
                DataSync.CollectionDeltaProcessor);

    const subscription: Subscription = rows.subscribe(async (signal) => {
        signal.throwIfAborted();
        return 'token';
    }, { limit: 1 });

    await rows.acquireSubscription({ token: 'a' });
    await rows.cancelSubscription({ token: 'a' });
    await subscription.ready;
    await subscription.cancel({ timeout: 1 });
    rows.deltaReceived.add((delta: Delta) => processor.processDelta(delta));

    for await (const delta of subscription) {
        const of: string = delta.model;

        console.log(of, delta.type === 'update' ? delta.newData : delta.data);
    }
}


async function signals(): Promise<void> {
    const signal = new Signal<[name: string, n: number]>();
    const listener = (name: string, n: number) => name + n;
    const binding: Binding = signal.add(listener, null, 1);
    const value: Json = { a: [1, 'b', null, true] };

    binding.detach();
    signal.addOnce(listener);
    signal.remove(listener);
    console.log(signal.has(listener));
    signal.dispatch('a', signal.getNumListeners());
    signal.halt();
    signal.removeAll();
    signal.dispose();

    for await (const name of signal) {
        console.log(name.length, value);
    }
}


export {
    chat, client, cursors, datasync, messaging, pubsub, services, signals,
};
