/*
 * Compares what snorky.d.ts says with what there is at run time, both ways,
 * and prints what is missing in one of them.  Started by t/js_types.t where
 * the package is installed:
 *
 *   node walk.mjs TYPESCRIPT
 */

import { createRequire } from 'node:module';
import * as client from 'snorky';

const require = createRequire(import.meta.url);
const ts = require(process.argv[2]);

const { Cursors, Snorky } = client;

const types = require.resolve('snorky').replace('snorky.cjs', 'snorky.d.ts');
const program = ts.createProgram([types], { target: ts.ScriptTarget.ES2022 });
const checker = program.getTypeChecker();
const names = (symbols) => new Set(symbols.map(({ name }) => name));

/* names that every function has, or that begin with "_", are nobody's */
const OWN = ['length', 'name', 'prototype', 'arguments', 'caller', 'Super',
             'constructor'];

const NATIVE = [Object.prototype, Function.prototype, Error.prototype, Error];


/* one of each class whose fields are all its users' */
function examples() {
    class Idle {
        close() {
        }
    }

    const kinds = Object.fromEntries(['Service', 'RPCService', 'PubSub',
        'Messaging', 'Chat', 'Cursors', 'DataSync']
        .map((name) => [name, client[name]]));

    const snorky = new Snorky('ws://localhost', kinds, {
        WebSocket: Idle, autoConnect: false,
    });

    const document = new Cursors.Document(snorky.services.Cursors, 1,
        [{ publicHandle: 1, document: 1, position: 1, status: 1, owner: 'a' }]);
    const [own, created] = document.createCursor({ position: 1, status: 1 });

    created.catch(() => {});

    return {
        ...snorky.services, Snorky: snorky, Document: document, OwnCursor: own,
        ForeignCursor: document.cursors[0], Signal: new client.Signal(),
        SnorkyError: new client.SnorkyError('closed', ''),
    };
}


function say(text) {
    console.log(text);
}


/* all that a value has, but what any object has */
function* has(value) {
    for (let part = value; part && !NATIVE.includes(part);
         part = Object.getPrototypeOf(part))
    {
        yield* Object.getOwnPropertyNames(part).filter((name) =>
            !OWN.includes(name) && !name.startsWith('_'));
    }
}


const module = checker.getSymbolAtLocation(program.getSourceFile(types));
const instances = examples();
const seen = new Set();

for (const symbol of checker.getExportsOfModule(module)) {
    const { name } = symbol;
    const target = symbol.flags & ts.SymbolFlags.Alias
                   ? checker.getAliasedSymbol(symbol) : symbol;

    if (!(target.flags & ts.SymbolFlags.Class)) {
        continue;
    }

    seen.add(name);

    const Class = client[name];

    if (typeof Class !== 'function') {
        say(`${name} is in the types only`);
        continue;
    }

    const instance = instances[name];
    const typed = checker.getPropertiesOfType(
        checker.getDeclaredTypeOfSymbol(target));
    const statics = checker.getPropertiesOfType(
        checker.getTypeOfSymbolAtLocation(target, target.valueDeclaration));

    for (const { name: member, flags } of typed) {
        const there = member.startsWith('__@')
            ? Symbol.asyncIterator in Class.prototype
            : member in (instance ?? Class.prototype);
        const isNeeded = instance !== undefined
                         || flags & ts.SymbolFlags.Method;

        if (!there && isNeeded && !(flags & ts.SymbolFlags.Optional)) {
            say(`${name}: ${member} is in the types only`);
        }
    }

    for (const { name: member } of statics) {
        if (!(member in Class)) {
            say(`${name}.${member} is in the types only`);
        }
    }

    for (const member of has(instance ?? Class.prototype)) {
        if (!names(typed).has(member)) {
            say(`${name}: ${member} is not in the types`);
        }
    }

    for (const member of has(Class)) {
        if (!names(statics).has(member)) {
            say(`${name}.${member} is not in the types`);
        }
    }
}

for (const name of Object.keys(client)) {
    if (!seen.has(name)) {
        say(`${name} is not in the types`);
    }
}

say(`${seen.size} classes`);
