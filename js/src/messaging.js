import { Signal } from './signal.js';
import { callable, RPCService } from './service.js';

const NAME = {
    take: 'registerParticipant',
    free: 'unregisterParticipant',
    none: 'Unknown participant',
};


export const Messaging = callable(class Messaging extends RPCService {
    init() {
        super.init();
        this.messageReceived = new Signal();
        this.notificationReceived.add(this.onNotification, this);
    }

    registerParticipant(params = {}, options) {
        return this._holds.take(NAME, params.name, params, options);
    }

    unregisterParticipant(params = {}, options) {
        return this._holds.free(NAME, params.name, params, options);
    }

    participant(name, options) {
        return {
            send: (dest, body, more) =>
                this.send({ sender: name, dest, body }, more),

            [Symbol.asyncIterator]: () =>
                this._holds.stream(NAME, name, { name }, options),
        };
    }

    onNotification(content) {
        if (content?.type === 'message') {
            this._holds.tell(NAME, content.dest, content);
            this.messageReceived.dispatch(content);
        }
    }
});

Messaging.addRPCMethods(['listParticipants', 'send']);
