import { key } from './key.js';
import { callable, RPCService } from './service.js';
import { disposeAll, Signal } from './signal.js';

const DOCUMENT = {
    take: 'join',
    free: 'leave',

    held: ({ data: document, params, service }, { cursors }) => {
        document?._compare(cursors);
        return document ?? new Document(service, params.document, cursors);
    },
};

/* what of a cursor can change */
const CHANGING = ['position', 'status'];


export class Cursor {
    publicHandle = null;
}


export class ForeignCursor extends Cursor {
    constructor(data) {
        super();
        Object.assign(this, data);
    }

    get isMine() {
        return false;
    }
}


/* It is had again by each connection, as it was last. */
export class OwnCursor extends Cursor {
    removed = false;

    #kind;
    #params;
    #pending = 0;

    constructor(document, privateHandle, { position, status }) {
        super();
        Object.assign(this, { document, privateHandle, position, status });

        this.#params = {
            privateHandle, document: document.name, position, status,
        };

        this.#kind = {
            take: 'createCursor',
            free: 'removeCursor',
            held: (hold, publicHandle) => {
                this.publicHandle = publicHandle;
            },
        };
    }

    get isMine() {
        return true;
    }

    update(newData, options) {
        const other = Object.keys(newData).find((name) =>
            !CHANGING.includes(name));

        if (other !== undefined) {
            throw new TypeError(`A cursor's ${other} can't be updated`);
        }

        if (key({ ...this.#params, ...newData }) === key(this.#params)) {
            return Promise.resolve();
        }

        Object.assign(this, newData);
        Object.assign(this.#params, newData);

        const { privateHandle } = this;

        return this.#sync(this.#holds.change(this.#kind, privateHandle,
            'updateCursor', { privateHandle, newData }, options));
    }

    remove(options) {
        const { document, privateHandle } = this;

        this._gone();

        return this.#sync(this.#holds.free(this.#kind, privateHandle,
                                           { privateHandle }, options));
    }

    isSynchronized() {
        return this.#pending === 0;
    }

    async _create(options) {
        try {
            await this.#sync(this.#holds.take(this.#kind, this.privateHandle,
                                              this.#params, options));

        } catch (error) {
            this._gone();
            throw error;
        }
    }

    _gone() {
        const { cursors } = this.document;

        this.removed = true;

        if (cursors.includes(this)) {
            cursors.splice(cursors.indexOf(this), 1);
        }
    }

    /* its document was left, and the server has removed it */
    _forget() {
        this._gone();
        this.#holds.forget(this.#kind, this.privateHandle);
    }

    get #holds() {
        return this.document.service._holds;
    }

    async #sync(promise) {
        this.#pending += 1;

        try {
            await promise;

        } finally {
            this.#pending -= 1;
        }
    }
}


export class Document {
    cursorAdded = new Signal();
    cursorUpdated = new Signal();
    cursorRemoved = new Signal();

    constructor(service, name, cursors) {
        this.service = service;
        this.name = name;
        this.cursors = cursors.map((data) => new ForeignCursor(data));
    }

    createCursor(params, options) {
        const cursor = new OwnCursor(this, this.service._nextHandle++, params);

        this.cursors.push(cursor);
        return [cursor, cursor._create(options)];
    }

    leave(options) {
        return this.service.leave({ document: this.name }, options);
    }

    _cursorAdded(data) {
        const cursor = new ForeignCursor(data);

        this.cursors.push(cursor);
        this.cursorAdded.dispatch(cursor);
    }

    _cursorUpdated(data) {
        const cursor = this.#find(data);

        if (cursor) {
            Object.assign(cursor, data);
            this.cursorUpdated.dispatch(cursor);
        }
    }

    _cursorRemoved({ publicHandle, document }) {
        const cursor = this.#find({ publicHandle });

        if (cursor) {
            this.cursors.splice(this.cursors.indexOf(cursor), 1);
            this.cursorRemoved.dispatch({ publicHandle, document });
        }
    }

    /*
     * With what there is after another connect.  One's own, of the connection
     * that ended, may be among them until the server has noticed that.
     */
    _compare(now) {
        const own = this.cursors.filter(({ isMine }) => isMine).map(handleOf);
        const there = now.filter((data) => !own.includes(handleOf(data)));
        const handles = there.map(handleOf);

        for (const cursor of this.cursors.filter(({ isMine }) => !isMine)) {
            if (!handles.includes(cursor.publicHandle)) {
                this._cursorRemoved(cursor);
            }
        }

        for (const data of there) {
            const known = this.#find(data);

            if (known === undefined) {
                this._cursorAdded(data);

            } else if (key({ ...known, ...data }) !== key(known)) {
                this._cursorUpdated(data);
            }
        }
    }

    #find({ publicHandle }) {
        return this.cursors.find((cursor) =>
            !cursor.isMine && cursor.publicHandle === publicHandle);
    }
}


export const Cursors = callable(class Cursors extends RPCService {
    static Cursor = Cursor;
    static ForeignCursor = ForeignCursor;
    static OwnCursor = OwnCursor;
    static Document = Document;

    init() {
        super.init();
        this._nextHandle = 0;
        this.notificationReceived.add(this.onNotification, this);
    }

    join(params = {}, options) {
        return this._holds.take(DOCUMENT, params.document, params, options);
    }

    leave(params = {}, options) {
        const { cursors = [] } = this._document(params.document) ?? {};

        for (const cursor of cursors.filter(({ isMine }) => isMine)) {
            cursor._forget();
        }

        return this._holds.free(DOCUMENT, params.document, params, options);
    }

    onNotification(content) {
        const { type, cursor } = content ?? {};

        if (cursor) {
            this._document(cursor.document)?.[`_${type}`]?.(cursor);
        }
    }

    _document(name) {
        return this._holds.get(DOCUMENT, name)?.data;
    }
});
