import { Signal } from './signal.js';
import { callable, RPCService } from './service.js';

const CHANNEL = {
    take: 'subscribe', free: 'unsubscribe', none: 'Not subscribed',
};


export const PubSub = callable(class PubSub extends RPCService {
    init() {
        super.init();
        this.messagePublished = new Signal();
        this.notificationReceived.add(this.onNotification, this);
    }

    subscribe(params = {}, options) {
        return this._holds.take(CHANNEL, params.channel, params, options);
    }

    unsubscribe(params = {}, options) {
        return this._holds.free(CHANNEL, params.channel, params, options);
    }

    channel(channel, options) {
        return {
            publish: (message, more) => this.publish({ channel, message }, more),

            [Symbol.asyncIterator]: () => this._holds.stream(CHANNEL, channel,
                                                    { channel }, options),
        };
    }

    onNotification(content) {
        if (content?.type === 'message') {
            this._holds.tell(CHANNEL, content.channel, content.message);
            this.messagePublished.dispatch(content);
        }
    }
});

PubSub.addRPCMethods(['publish']);
