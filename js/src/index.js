import { Class } from './class.js';
import { SnorkyError } from './error.js';
import { PubSub } from './pubsub.js';
import { RPCService, Service } from './service.js';
import { Signal } from './signal.js';
import { Snorky } from './snorky.js';

/* a file of its own, for a <script>, has these as the client's own */
Object.assign(Snorky, {
    Class, Promise, PubSub, RPCService, Service, Signal, SnorkyError,
});

export { PubSub, RPCService, Service, Signal, Snorky, SnorkyError };
export { Snorky as default };
