import { key } from './key.js';
import { callable, RPCService } from './service.js';
import { disposeAll, Signal } from './signal.js';

const DOCUMENT = {
    take: 'join',
    free: 'leave',
    by: 'document',

    held: ({ data: document, params, service }, { cursors }) => {
        document?._compare(cursors);
        return document ?? new Document(service, params.document, cursors);
    },
};

const CURSOR = {
    take: 'createCursor',
    free: 'removeCursor',
    by: 'privateHandle',

    held: ({ params: cursor }, publicHandle) => {
        cursor.publicHandle = publicHandle;
    },
};


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


/*
 * It is its own parameters: each connection creates it anew, as it is then.
 */
export class OwnCursor extends Cursor {
    removed = false;
    #pending = 0;
    #known;                 /* to the server, as it has answered */

    constructor(document, privateHandle, { position, status }) {
        super();
        Object.assign(this, { document, privateHandle, position, status });
    }

    toJSON() {
        const { document, privateHandle, position, status } = this;

        return { privateHandle, document: document.name, position, status };
    }

    get isMine() {
        return true;
    }

    update(newData, options) {
        const { privateHandle } = this;

        for (const name in newData) {
            if (name !== 'position' && name !== 'status') {
                throw new Error(`${name} can't be updated`);
            }
        }

        Object.assign(this, newData);

        return key(this) === this.#known ? Promise.resolve()
            : this.#sync(this.#calls.change(this.#calls.get(CURSOR, this),
                  'updateCursor', { privateHandle, newData }, options));
    }

    remove(options) {
        const { privateHandle } = this;
        const answer = this.#calls.free(CURSOR, { privateHandle }, options);

        this._gone();
        return this.#sync(answer);
    }

    isSynchronized() {
        return this.#pending === 0;
    }

    _create(options) {
        return this.#sync(this.#calls.take(CURSOR, this, options))
            .catch((error) => {
                this._gone();
                throw error;
            });
    }

    /* the server does not have it any longer */
    _gone() {
        const { cursors } = this.document;

        this.removed = true;
        this.#calls.forget(CURSOR, this);

        if (cursors.includes(this)) {
            cursors.splice(cursors.indexOf(this), 1);
        }
    }

    get #calls() {
        return this.document.service._calls;
    }

    async #sync(promise) {
        const now = key(this);

        this.#pending += 1;

        try {
            await promise;
            this.#known = now;

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

        if (cursor?.isMine === false) {
            Object.assign(cursor, data);
            this.cursorUpdated.dispatch(cursor);
        }
    }

    _cursorRemoved({ publicHandle, document }) {
        const cursor = this.#find({ publicHandle });

        if (cursor?.isMine === false) {
            this.cursors.splice(this.cursors.indexOf(cursor), 1);
            this.cursorRemoved.dispatch({ publicHandle, document });
        }
    }

    /*
     * With what there is after another connect.  One's own, of the connection
     * that ended, may be among them until the server has noticed that.
     */
    _compare(now) {
        for (const cursor of [...this.cursors]) {
            if (!now.some(isThis(cursor))) {
                this._cursorRemoved(cursor);
            }
        }

        for (const data of now) {
            const known = this.#find(data);

            if (known === undefined) {
                this._cursorAdded(data);

            } else if (key(known) !== key(data)) {
                this._cursorUpdated(data);
            }
        }
    }

    #find(data) {
        return this.cursors.find(isThis(data));
    }
}


function isThis({ publicHandle }) {
    return (cursor) => cursor.publicHandle === publicHandle;
}


export const Cursors = callable(class Cursors extends RPCService {
    static Cursor = Cursor;
    static ForeignCursor = ForeignCursor;
    static OwnCursor = OwnCursor;
    static Document = Document;

    init() {
        super.init();
        this._nextHandle = 0;
    }

    join(params, options) {
        return this._calls.take(DOCUMENT, params, options);
    }

    leave(params, options) {
        const { cursors = [] } = this._document(params) ?? {};

        for (const cursor of cursors.filter(({ isMine }) => isMine)) {
            cursor._gone();
        }

        return this._calls.free(DOCUMENT, params, options);
    }

    onNotification(content) {
        const { type, cursor } = content ?? {};

        if (cursor) {
            this._document(cursor)?.[`_${type}`]?.(cursor);
        }
    }

    _document(params = {}) {
        return this._calls.get(DOCUMENT, params)?.data;
    }
});
