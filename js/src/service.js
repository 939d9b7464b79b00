import { Holds } from './holds.js';
import { Signal } from './signal.js';


/*
 * The class, such that pages of the original may call it as a function, too:
 * Snorky.Service.call(this, name, snorky).  For this a service has neither a
 * constructor of its own nor fields; what it is made of is made by init().
 */
export function callable(Class) {
    const both = new Proxy(Class, {
        apply: (_, service, args) => construct(service, ...args),
    });

    Class.prototype.constructor = both;
    return both;
}


function construct(service, name, snorky) {
    service.name = name;
    service.snorky = snorky;
    service.packetReceived = new Signal();
    service.init();
}


export const Service = callable(class Service {
    constructor(name, snorky) {
        construct(this, name, snorky);
    }

    init() {
    }

    sendMessage(message) {
        this.snorky._sendServiceMessage(this.name, message);
    }
});


export const RPCService = callable(class RPCService extends Service {
    init() {
        this._calls = new Holds(this);
        this.notificationReceived = new Signal();
        this.resumed = new Signal();
        this.lost = new Signal();
        this.packetReceived.add(this.onPacket, this);

        if (this.onNotification) {
            this.notificationReceived.add(this.onNotification, this);
        }
    }

    rpcCall(command, params = {}, options) {
        return this._calls.make(command, params, options);
    }

    onPacket(message) {
        if (!this._calls.answered(message)) {
            this.notificationReceived.dispatch(message);
        }
    }

    static addRPCMethods(commands) {
        for (const command of commands) {
            if (command in this.prototype) {
                throw new Error(`Method "${command}" already exists in the `
                                + 'class. Refusing to overwrite it.');
            }

            this.prototype[command] = function (params, options) {
                return this.rpcCall(command, params, options);
            };
        }
    }
});
