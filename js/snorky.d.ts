/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * What the client has for its users, in types.  Times are in milliseconds.
 * The protocol is that of docs/protocol.md; docs/client.md explains all of
 * this with examples.
 */

/* ------------------------------------------------------------------- JSON */

/** What JSON (RFC 8259) can say; channels and names are compared by value. */
export type Json =
    | null | boolean | number | string
    | readonly Json[] | { readonly [key: string]: Json };

/* ---------------------------------------------------------------- signals */

export interface Binding {
    /** Does not listen any longer. */
    detach(): void;
}

/**
 * Tells its listeners, the one with the highest priority first.  Its methods
 * are those of js-signals, but for memorize() and forget().  A loop,
 * `for await (const value of signal)`, has the first argument of each dispatch
 * from its beginning on.
 */
export class Signal<A extends unknown[] = any[]> {
    add(listener: (...args: A) => unknown, context?: unknown,
        priority?: number): Binding;
    addOnce(listener: (...args: A) => unknown, context?: unknown,
            priority?: number): Binding;
    remove(listener: (...args: A) => unknown, context?: unknown): void;
    removeAll(): void;
    has(listener: (...args: A) => unknown, context?: unknown): boolean;
    getNumListeners(): number;

    /** Called in a listener: the others are not told this time. */
    halt(): void;
    dispatch(...args: A): void;
    dispose(): void;

    [Symbol.asyncIterator](): AsyncIterableIterator<A[0]>;
}

/* ----------------------------------------------------------------- errors */

/**
 * - `rpc`: the service's own answer; `message` is its text, word by word.
 * - `timeout`: no answer in time.  What was asked for may have been done.
 * - `disconnected`: the connection ended before the answer came; likewise.
 * - `refused`: the server does not want this client; it does not come back.
 * - `closed`: the client was closed by its owner.
 * - `overflow`: more came than an iterator's reader was ready to keep.
 */
export type ErrorCode =
    'rpc' | 'timeout' | 'disconnected' | 'refused' | 'closed' | 'overflow';

export class SnorkyError extends Error {
    constructor(code: ErrorCode, message: string);
    readonly code: ErrorCode;
}

/* --------------------------------------------------------------- services */

export interface CallOptions {
    /** How long to wait for the answer, 0: for ever.  Else the client's. */
    timeout?: number;

    /** Rejects the call with the signal's reason. */
    signal?: AbortSignal;
}

export interface StreamOptions {
    /** Ends the loop, by throwing the signal's reason. */
    signal?: AbortSignal;

    /** So many values may wait for the loop, 10,000; more are an `overflow`. */
    limit?: number;
}

export class Service {
    constructor(name: string, snorky: Snorky<any>);

    readonly name: string;
    readonly snorky: Snorky<any>;

    /** The content of each message of this service. */
    readonly packetReceived: Signal<[message: any]>;

    /** Called by the constructor, for subclasses. */
    init(): void;

    /** Sends at once, or as soon as the connection stands. */
    sendMessage(message: unknown): void;
}

/** A call that is made anew by each connection. */
export interface Kept {
    command: string;
    params: any;
}

export class RPCService extends Service {
    /** What answers no call. */
    readonly notificationReceived: Signal<[message: any]>;

    /** A kept call was answered again, after another connect. */
    readonly resumed: Signal<[what: Kept & { data: any }]>;

    /** A kept call was refused after another connect: it is over. */
    readonly lost: Signal<[what: Kept & { error: Error }]>;

    /** The promise has the answer's data, or is rejected. */
    rpcCall(command: string, params?: object, options?: CallOptions):
        Promise<any>;

    /** Gives the class a method for each command. */
    static addRPCMethods(commands: readonly string[]): void;

    /** Given what comes; for subclasses. */
    onPacket(message: any): void;

    /** Given what answers no call; of subclasses. */
    onNotification?(message: any): void;
}

/* ----------------------------------------------------------------- pubsub */

export interface Publication<M = any, C = any> {
    type: 'message';
    channel: C;
    message: M;
}

/** `for await` subscribes, if nobody has, and has each message. */
export interface Channel<M = any> extends AsyncIterable<M> {
    publish(message: M, options?: CallOptions): Promise<null>;
}

export class PubSub extends RPCService {
    readonly messagePublished: Signal<[publication: Publication]>;

    subscribe(params: { channel: unknown }, options?: CallOptions):
        Promise<null>;
    unsubscribe(params: { channel: unknown }, options?: CallOptions):
        Promise<null>;
    publish(params: { channel: unknown, message: unknown },
            options?: CallOptions): Promise<null>;

    channel<M = any>(channel: unknown, options?: StreamOptions): Channel<M>;
}

/* -------------------------------------------------------------- messaging */

export interface Letter<B = any> {
    type: 'message';
    sender: any;
    dest: any;
    body: B;
}

/** `for await` registers the name, if this client has not, and has letters. */
export interface Participant<B = any> extends AsyncIterable<Letter<B>> {
    send(dest: unknown, body: unknown, options?: CallOptions): Promise<null>;
}

export class Messaging extends RPCService {
    readonly messageReceived: Signal<[letter: Letter]>;

    registerParticipant(params: { name: unknown }, options?: CallOptions):
        Promise<null>;
    unregisterParticipant(params: { name: unknown }, options?: CallOptions):
        Promise<null>;
    listParticipants(params?: {}, options?: CallOptions): Promise<any[]>;
    send(params: { sender: unknown, dest: unknown, body: unknown },
         options?: CallOptions): Promise<null>;

    participant<B = any>(name: unknown, options?: StreamOptions):
        Participant<B>;
}

/* ------------------------------------------------------------------- chat */

export interface ChatMessage<B = any> {
    type: 'message';
    from: string;
    channel: any;
    body: B;
    timestamp: string;
}

export interface Presence {
    type: 'presence';
    from: string;
    channel: any;
    status: 'joined' | 'left';
    timestamp: string;
}

export interface Read {
    type: 'read';
    channel: any;
    timestamp: string;
}

/** `for await` joins, if this client has not, and has all that is told. */
export interface Room<B = any>
    extends AsyncIterable<ChatMessage<B> | Presence | Read>
{
    send(body: B, options?: CallOptions): Promise<null>;
    read(options?: CallOptions): Promise<null>;
}

export class Chat extends RPCService {
    readonly messageReceived: Signal<[message: ChatMessage]>;
    readonly presenceReceived: Signal<[presence: Presence]>;
    readonly readReceived: Signal<[read: Read]>;

    /** Of a room that a loop has joined already: the members of then. */
    join(params: { channel: unknown }, options?: CallOptions):
        Promise<{ members: string[] }>;
    leave(params: { channel: unknown }, options?: CallOptions): Promise<null>;
    send(params: { channel: unknown, body: unknown }, options?: CallOptions):
        Promise<null>;
    read(params: { channel: unknown }, options?: CallOptions): Promise<null>;

    room<B = any>(channel: unknown, options?: StreamOptions): Room<B>;
}

/* ---------------------------------------------------------------- cursors */

export class Cursor {
    /** Null while the server has not answered. */
    publicHandle: number | null;
    position: any;
    status: any;
    readonly isMine: boolean;
}

export class ForeignCursor extends Cursor {
    readonly isMine: false;
    publicHandle: number;
    document: any;
    owner: string;
}

export class OwnCursor extends Cursor {
    readonly isMine: true;
    readonly document: Document;
    readonly privateHandle: number;
    readonly removed: boolean;

    /** Changes that are none send nothing. */
    update(newData: { position?: unknown, status?: unknown },
           options?: CallOptions): Promise<void>;
    remove(options?: CallOptions): Promise<void>;

    /** Whether all that was asked for has been answered. */
    isSynchronized(): boolean;

    /** What it is created with. */
    toJSON(): object;
}

/**
 * A document that was joined.  After another connect it is joined anew, one's
 * own cursors are created anew, and the signals tell what has changed since.
 */
export class Document {
    readonly name: any;
    readonly service: Cursors;

    /** Of all, one's own among them. */
    readonly cursors: (ForeignCursor | OwnCursor)[];

    readonly cursorAdded: Signal<[cursor: ForeignCursor]>;
    readonly cursorUpdated: Signal<[cursor: ForeignCursor]>;
    readonly cursorRemoved: Signal<[
        cursor: Pick<ForeignCursor, 'publicHandle' | 'document'>,
    ]>;

    createCursor(params: { position: unknown, status: unknown },
                 options?: CallOptions): [OwnCursor, Promise<void>];
    leave(options?: CallOptions): Promise<null>;
}

export class Cursors extends RPCService {
    static Cursor: typeof Cursor;
    static ForeignCursor: typeof ForeignCursor;
    static OwnCursor: typeof OwnCursor;
    static Document: typeof Document;

    join(params: { document: unknown }, options?: CallOptions):
        Promise<Document>;
    leave(params: { document: unknown }, options?: CallOptions): Promise<null>;
}

/* --------------------------------------------------------------- datasync */

export type Delta<T = any> =
    | { type: 'insert' | 'delete', model: string, data: T, tag?: string }
    | { type: 'update', model: string, newData: T, oldData: T, tag?: string };

/**
 * A subscription that survives connections: each time it asks for a token
 * again.  `for await` has its client's deltas from the loop's beginning on.
 */
export interface Subscription extends AsyncIterable<Delta> {
    /** Settled with the first acquisition. */
    readonly ready: Promise<void>;
    cancel(options?: CallOptions): Promise<void>;
}

export interface Collection<T = any> {
    insert(item: T): void;
    getIterator(): CollectionIterator<T>;
}

export interface CollectionIterator<T = any> {
    hasNext(): boolean;
    next(): T;
    remove(): void;
    update(item: T): void;
}

export class ArrayCollection<T = any, S = any> implements Collection<T> {
    constructor(array: T[], options?: { transformItem?: (item: S) => T });
    readonly array: T[];
    insert(item: any): void;
    getIterator(): CollectionIterator<T>;
}

export class SingleItemCollection<T = any> implements Collection<T> {
    constructor(readHandler: () => T, updateHandler: (item: T) => void,
                removeHandler?: () => void);
    insert(item: T): void;
    getIterator(): CollectionIterator<T>;
}

export class CollectionDeltaProcessor {
    /** By model, or by model and the delta's tag. */
    constructor(
        collections: Record<string, Collection | Record<string, Collection>>,
        options?: {
            /** Whether both are one; else their `id` tells. */
            itemsAreEqual?: (item: any, other: any, delta: Delta) => boolean,
        });
    processDelta(delta: Delta): void;
}

export class DataSync extends RPCService {
    static Collection: abstract new () => Collection;
    static ArrayCollection: typeof ArrayCollection;
    static SingleItemCollection: typeof SingleItemCollection;
    static CollectionDeltaProcessor: typeof CollectionDeltaProcessor;

    readonly deltaReceived: Signal<[delta: Delta]>;

    acquireSubscription(params: { token: string }, options?: CallOptions):
        Promise<null>;
    cancelSubscription(params: { token: string }, options?: CallOptions):
        Promise<null>;

    /**
     * Asks `authorize` for a token, and acquires it; again after each connect,
     * and after a pause if it fails.  Have it fetch the rows, too, and show
     * them before it returns: what changes from then on comes as deltas.
     */
    subscribe(authorize: (signal: AbortSignal) => Promise<string> | string,
              options?: StreamOptions): Subscription;
}

/* ------------------------------------------------------------- the client */

/** What this client uses of a WebSocket, or of SockJS. */
export interface Socket {
    onopen: ((event: any) => void) | null;
    onmessage: ((event: any) => void) | null;
    onclose: ((event: any) => void) | null;
    onerror?: ((event: any) => void) | null;
    readonly readyState: number;
    send(text: string): void;
    close(code?: number, reason?: string): void;
}

export type SocketClass = new (url: string, ...rest: any[]) => Socket;

export type Url = string | URL | (() => string | URL | Promise<string | URL>);

/**
 * `code`, `reason` and `wasOpen` are those of the connection that has ended, if
 * one has: in `waiting` and `refused`, and in `idle` and `closed` after it.
 */
export interface State {
    state: 'idle' | 'connecting' | 'open' | 'waiting' | 'refused' | 'closed';

    /** Why the last connection ended: RFC 6455, section 7.4.1. */
    code?: number;
    reason?: string;

    /** Of HTTP, where a handshake was refused and that could be found out. */
    status?: number;

    /** Until the next try; Infinity: until the device is online. */
    wait?: number;

    /** Whether the connection that ended had stood. */
    wasOpen?: boolean;
}

export interface Options {
    /**
     * Instead of the global WebSocket; Node 20 has none: npm's `ws`.  Null:
     * none, SockJS only.
     */
    WebSocket?: SocketClass | null;

    /** Subprotocols that a WebSocket offers. */
    protocols?: string | string[];

    /** SockJS, as a fallback where WebSocket gets no connection. */
    SockJS?: SocketClass;

    /** Of a snorky_sockjs location; '/sockjs'. */
    sockjsUrl?: Url;

    /** SockJS's third argument. */
    sockjsOptions?: object;

    /** Begin with this one instead of WebSocket; `SockJS` must be given. */
    transport?: 'websocket' | 'sockjs';

    /** Whether it connects by itself at once; true. */
    autoConnect?: boolean;

    /** Connect again when a connection ends; true. */
    reconnect?: boolean;

    /** Subscribe, join, register again with each connection; true. */
    resume?: boolean;

    /** The first pause's upper bound, doubled each time; 500. */
    minWait?: number;

    /** Pauses' upper bound; 20,000. */
    maxWait?: number;

    /** A connection has to stand in this time; 10,000. */
    connectTimeout?: number;

    /** Of calls; 30,000.  0: none. */
    timeout?: number;

    /** Probe the link when nothing came for so long; 25,000.  0: never. */
    silence?: number;

    /** The link is dead when nothing came so long after a probe; 5,000. */
    probeTimeout?: number;
}

export type ServiceClasses = Record<string, typeof Service>;

export type Services<T extends ServiceClasses> = {
    readonly [K in keyof T]: InstanceType<T[K]>;
};

declare class Snorky<T extends ServiceClasses = ServiceClasses> {
    /** Connects again, and resumes what was kept. */
    constructor(url: Url, services: T, options?: Options);

    /** The original's: `reconnect`, `resume` are false, no timeouts, probes. */
    constructor(socketClass: SocketClass, url: string, services: T,
                options?: Options);

    readonly services: Services<T>;

    readonly isConnected: boolean;
    readonly isConnecting: boolean;
    readonly state: State;

    /** The socket, while it is connected. */
    readonly socket: Socket | null;

    /** Which the socket is of; by the original's constructor, websocket. */
    readonly transport: 'websocket' | 'sockjs';

    readonly connected: Signal<[]>;
    readonly disconnected: Signal<[state: State]>;
    readonly stateChanged: Signal<[state: State]>;

    /**
     * After a connect that is not the first, all that was kept is answered
     * again: what was missed meanwhile may be fetched now.
     */
    readonly resumed: Signal<[]>;

    /** Connects at once, if it is not connected; no pause is waited for. */
    connect(): void;

    /** A new connection instead of this one, if there is one. */
    restart(): void;

    /** Ends the connection, and stays so until connect().  Nothing is lost. */
    disconnect(): void;

    /** For good: calls are rejected, loops end. */
    close(): void;

    /** Settled when it is connected; rejected when it can't be any more. */
    ready(options?: CallOptions): Promise<void>;

    static Signal: typeof Signal;
    static SnorkyError: typeof SnorkyError;
    static Service: typeof Service;
    static RPCService: typeof RPCService;
    static PubSub: typeof PubSub;
    static Messaging: typeof Messaging;
    static Chat: typeof Chat;
    static Cursors: typeof Cursors;
    static DataSync: typeof DataSync;
    static Promise: PromiseConstructor;

    /** Classes as the original's pages make them. */
    static Class: (...parts: any[]) => any;
}

export { Snorky };
export default Snorky;
