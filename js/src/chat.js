import { Signal } from './signal.js';
import { callable, RPCService } from './service.js';

const CHANNEL = {
    take: 'join', free: 'leave', by: 'channel', none: 'Not joined',
};


export const Chat = callable(class Chat extends RPCService {
    init() {
        super.init();
        this.messageReceived = new Signal();
        this.presenceReceived = new Signal();
        this.readReceived = new Signal();
    }

    async join(params, options) {
        const { members } = await this._holds.take(CHANNEL, params, options);

        return { members: [...members] };
    }

    leave(params, options) {
        return this._holds.free(CHANNEL, params, options);
    }

    room(channel, options) {
        return {
            send: (body, more) => this.send({ channel, body }, more),
            read: (more) => this.read({ channel }, more),

            [Symbol.asyncIterator]: () =>
                this._holds.stream(CHANNEL, { channel }, options),
        };
    }

    onNotification(content) {
        const { type } = content ?? {};

        if (type === 'presence') {
            this._count(content);
        }

        if (type === 'message' || type === 'presence' || type === 'read') {
            this._holds.tell(CHANNEL, content, content);
            this[`${type}Received`].dispatch(content);
        }
    }

    /* who joins what a loop has joined is to know its members of now */
    _count(presence) {
        const { data } = this._holds.get(CHANNEL, presence) ?? {};
        const { from, status } = presence;

        if (data) {
            data.members = data.members.filter((name) => name !== from);

            if (status === 'joined') {
                data.members.push(from);
            }
        }
    }
});

Chat.addRPCMethods(['send', 'read']);
