import { Chat } from './chat.js';
import { Class } from './class.js';
import { Cursor, Cursors, Document, ForeignCursor, OwnCursor }
    from './cursors.js';
import { DataSync } from './datasync.js';
import { ArrayCollection, CollectionDeltaProcessor, SingleItemCollection }
    from './collections.js';
import { SnorkyError } from './error.js';
import { Messaging } from './messaging.js';
import { PubSub } from './pubsub.js';
import { RPCService, Service } from './service.js';
import { Signal } from './signal.js';
import { Snorky } from './snorky.js';

/* a file of its own, for a <script>, has these as the client's own */
Object.assign(Snorky, {
    Chat, Class, Cursors, DataSync, Messaging, Promise, PubSub, RPCService,
    Service, Signal, SnorkyError,
});

export {
    ArrayCollection, Chat, CollectionDeltaProcessor, Cursor, Cursors, DataSync,
    Document, ForeignCursor, Messaging, OwnCursor, PubSub, RPCService, Service,
    Signal, SingleItemCollection, Snorky, SnorkyError,
};
export { Snorky as default };
