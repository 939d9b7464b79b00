import {
    ArrayCollection, Collection, CollectionDeltaProcessor,
    SingleItemCollection,
} from './collections.js';
import { callable, RPCService } from './service.js';
import { Signal } from './signal.js';


export const DataSync = callable(class DataSync extends RPCService {
    static Collection = Collection;
    static ArrayCollection = ArrayCollection;
    static SingleItemCollection = SingleItemCollection;
    static CollectionDeltaProcessor = CollectionDeltaProcessor;

    init() {
        super.init();
        this._subscriptions = 0;
        this.deltaReceived = new Signal();
        this.notificationReceived.add(this.onNotification, this);
    }

    /* tokens are had once: each connection asks for another */
    subscribe(authorize, options = {}) {
        const { _holds: holds } = this;
        const id = this._subscriptions++;
        const { signal } = options;

        const kind = {
            take: 'acquireSubscription',
            free: 'cancelSubscription',
            call: (hold, ended) => this._acquire(hold, authorize, ended),
        };

        const ready = holds.take(kind, id, undefined, { signal })
            .then(() => {});

        const abort = () => holds.cancel(kind, id, signal.reason);

        ready.catch(() => {});
        signal?.addEventListener('abort', abort, { once: true });

        return {
            ready,
            cancel: async (more) => {
                signal?.removeEventListener('abort', abort);
                await holds.cancel(kind, id, undefined, more);
            },

            [Symbol.asyncIterator]: () =>
                holds.stream(kind, id, undefined, options),
        };
    }

    async _acquire(hold, authorize, signal) {
        hold.params = undefined;

        const token = await authorize(signal);
        const params = { token };

        await this.acquireSubscription(params, { timeout: 0, signal });
        hold.params = params;
        return null;
    }

    onNotification(content) {
        if (content?.type === 'delta') {
            this._holds.tellAll(content.delta);
            this.deltaReceived.dispatch(content.delta);
        }
    }
});

DataSync.addRPCMethods(['acquireSubscription', 'cancelSubscription']);
