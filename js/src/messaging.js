import { Signal } from './signal.js';
import { callable, RPCService } from './service.js';

const NAME = {
    take: 'registerParticipant',
    free: 'unregisterParticipant',
    by: 'name',
    none: 'Unknown participant',
};


export const Messaging = callable(class Messaging extends RPCService {
    init() {
        super.init();
        this.messageReceived = new Signal();
    }

    registerParticipant(params, options) {
        return this._calls.take(NAME, params, options);
    }

    unregisterParticipant(params, options) {
        return this._calls.free(NAME, params, options);
    }

    participant(name, options) {
        return {
            send: (dest, body, more) =>
                this.send({ sender: name, dest, body }, more),

            [Symbol.asyncIterator]: () =>
                this._calls.stream(NAME, { name }, options),
        };
    }

    onNotification(content) {
        if (content?.type === 'message') {
            this._calls.tell(NAME, { name: content.dest }, content);
            this.messageReceived.dispatch(content);
        }
    }
});

Messaging.addRPCMethods(['listParticipants', 'send']);
