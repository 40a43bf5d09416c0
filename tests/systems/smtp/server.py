"""An SMTP server for tests: aiosmtpd, with STARTTLS and a login, that keeps each accepted message as one JSON file.

    server.py --port N --directory DIR --certificate FILE --key FILE [--user NAME --password WORD] [--require-starttls]

A recipient's local part can ask for a refusal: `reject-451@…` is answered with 451 at RCPT, `data-554@…` with 554 after
the message's end, `drop@…` gets its message stored and the connection closed without a reply.
"""

import argparse
import asyncio
import json
import os
import re
import ssl

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword


class Keeper:
    """Takes messages and writes them down, in the order in which they came."""

    def __init__(self, directory):
        self.directory = directory
        self.count = 0

    async def handle_RCPT(self, server, session, envelope, address, options):
        wanted = re.match(r"reject-([45]\d\d)@", address)
        if wanted:
            return f"{wanted[1]} as asked for"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        wanted = [re.match(r"data-([45]\d\d)@", address) for address in envelope.rcpt_tos]
        for one in wanted:
            if one:
                return f"{one[1]} as asked for"
        self.count += 1
        entry = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "content": envelope.content.decode("utf-8", "surrogateescape").encode("utf-8", "replace").decode("utf-8"),
            "tls": session.ssl is not None,
            "user": session.auth_data.decode() if session.authenticated else None,
        }
        path = os.path.join(self.directory, f"{self.count:06}.json")
        with open(path + ".new", "w", encoding="utf-8") as file:
            json.dump(entry, file)
        os.rename(path + ".new", path)
        if any(address.startswith("drop@") for address in envelope.rcpt_tos):
            server.transport.abort()
        return "250 OK kept"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--directory", required=True)
    parser.add_argument("--certificate", required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--user")
    parser.add_argument("--password")
    parser.add_argument("--require-starttls", action="store_true")
    arguments = parser.parse_args()

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(arguments.certificate, arguments.key)
    keeper = Keeper(arguments.directory)

    def authenticate(server, session, envelope, mechanism, data):
        right = (
            isinstance(data, LoginPassword)
            and data.login == arguments.user.encode()
            and data.password == arguments.password.encode()
        )
        return AuthResult(success=right, handled=False, auth_data=data.login if right else None)

    def connection():
        return SMTP(
            keeper,
            hostname="localhost",
            ident="test",
            tls_context=context,
            require_starttls=arguments.require_starttls,
            auth_required=arguments.user is not None,
            authenticator=authenticate if arguments.user is not None else None,
            auth_require_tls=arguments.require_starttls,
        )

    async def serve():
        server = await asyncio.get_running_loop().create_server(connection, "127.0.0.1", arguments.port)
        await server.serve_forever()

    asyncio.run(serve())


if __name__ == "__main__":
    main()
