/*
 * Makes a class as pages of the original do, in the manner of my-class:
 *
 *   Class(body), Class(Super, body), Class(Super, Other..., body)
 *
 * The body has "constructor", methods, and "STATIC"; what the others have is
 * taken over where the class has none of the name.
 */
export function Class(...parts) {
    const body = parts.pop();
    const [Super, ...others] = parts;
    const { STATIC, ...methods } = body;
    const Made = Object.hasOwn(body, 'constructor') ? body.constructor
                                                    : inherited(Super);

    if (Super) {
        Object.setPrototypeOf(Made, Super);
        Made.prototype = Object.create(Super.prototype);
        Made.Super = Super;
    }

    for (const { prototype } of others) {
        for (const name in prototype) {
            if (!(name in Made.prototype)) {
                Made.prototype[name] = prototype[name];
            }
        }
    }

    Object.assign(Made, STATIC);
    Object.assign(Made.prototype, methods, { constructor: Made });
    return Made;
}


/* Super may be a class, which can't be applied to what exists already */
function inherited(Super) {
    return function (...args) {
        return new.target && Super
               ? Reflect.construct(Super, args, new.target)
               : Super?.apply(this, args);
    };
}
