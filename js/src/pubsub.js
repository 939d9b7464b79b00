import { Signal } from './signal.js';
import { callable, RPCService } from './service.js';

const CHANNEL = {
    take: 'subscribe', free: 'unsubscribe', by: 'channel',
    none: 'Not subscribed',
};


export const PubSub = callable(class PubSub extends RPCService {
    init() {
        super.init();
        this.messagePublished = new Signal();
    }

    subscribe(params, options) {
        return this._calls.take(CHANNEL, params, options);
    }

    unsubscribe(params, options) {
        return this._calls.free(CHANNEL, params, options);
    }

    channel(channel, options) {
        return {
            publish: (message, more) =>
                this.publish({ channel, message }, more),

            [Symbol.asyncIterator]: () =>
                this._calls.stream(CHANNEL, { channel }, options),
        };
    }

    onNotification(content) {
        if (content?.type === 'message') {
            this._calls.tell(CHANNEL, content, content.message);
            this.messagePublished.dispatch(content);
        }
    }
});

PubSub.addRPCMethods(['publish']);
