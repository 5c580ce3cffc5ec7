// An OpenID provider for the tests: provider.mjs PORT ALGORITHM. Tokens of the client credentials grant are
// JSON web tokens; what the header x-claims holds is put into them.
import { generateKeyPairSync, randomUUID } from "node:crypto";
import Provider from "oidc-provider";

const [port, algorithm] = process.argv.slice(2);
const kinds = { RS256: ["rsa", { modulusLength: 2048 }], PS256: ["rsa", { modulusLength: 2048 }],
                ES256: ["ec", { namedCurve: "P-256" }], EdDSA: ["ed25519", {}] };
const { privateKey } = generateKeyPairSync(...kinds[algorithm]);
const signing = { ...privateKey.export({ format: "jwk" }), kid: randomUUID(), use: "sig", alg: algorithm };
// The provider wants a key for its default algorithm too.
const other = generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey.export({ format: "jwk" });
const keys = algorithm === "RS256" ? [signing] : [signing, { ...other, kid: randomUUID(), use: "sig", alg: "RS256" }];

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [{ client_id: "drystone", client_secret: "client-secret", grant_types: ["client_credentials"],
              redirect_uris: [], response_types: [] }],
  jwks: { keys },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => "urn:drystone",
      getResourceServerInfo: () => ({ scope: "", audience: "drystone", accessTokenFormat: "jwt", accessTokenTTL: 3600,
                                      jwt: { sign: { alg: algorithm } } }),
    },
  },
  formats: {
    customizers: {
      async jwt(ctx, token, parts) {
        Object.assign(parts.payload, JSON.parse(ctx.get("x-claims") || "{}"));
      },
    },
  },
});
provider.listen(Number(port), "127.0.0.1", () => console.log("ready"));
