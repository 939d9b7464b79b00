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
    }

    /* tokens are had once: each connection asks for another */
    subscribe(authorize, options = {}) {
        const { _calls: calls } = this;
        const id = { id: this._subscriptions++ };
        const { signal } = options;

        const kind = {
            take: 'acquireSubscription',
            free: 'cancelSubscription',
            by: 'id',
            call: (hold, ended) => this._acquire(hold, authorize, ended),
        };

        const ready = calls.take(kind, id, { signal, timeout: 0 });

        const abort = () =>
            calls.cancel(kind, id, signal.reason).catch(() => {});

        ready.catch(() => {});
        signal?.addEventListener('abort', abort);

        return {
            ready,

            cancel: (more) => {
                signal?.removeEventListener('abort', abort);
                return calls.cancel(kind, id, undefined, more);
            },
            [Symbol.asyncIterator]: () => calls.stream(kind, id, options),
        };
    }

    async _acquire(hold, authorize, signal) {
        hold.params = {};

        const params = { token: await authorize(signal) };

        try {
            await this.acquireSubscription(params, { timeout: 0, signal });
            hold.params = params;
            return null;

        } catch (error) {
            /* cancelled meanwhile, and the server may have had the call */
            if (signal.aborted && this.snorky.isConnected) {
                this.cancelSubscription(params).catch(() => {});
            }

            throw error;
        }
    }

    onNotification(content) {
        if (content?.type === 'delta') {
            this._calls.tellAll(content.delta);
            this.deltaReceived.dispatch(content.delta);
        }
    }
});

DataSync.addRPCMethods(['acquireSubscription', 'cancelSubscription']);
