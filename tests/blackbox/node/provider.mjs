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

const accounts = new Map();
const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [{ client_id: "drystone", client_secret: "client-secret", grant_types: ["client_credentials"],
              redirect_uris: [], response_types: [] }],
  jwks: { keys },
  findAccount: (ctx, id) => accounts.has(id) && { accountId: id, claims: () => ({ sub: id, ...accounts.get(id) }) },
  claims: { openid: ["sub", "policy", "email"] },
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
// Stands in for a person who logs in: GET /login?sub=NAME&claims=JSON gives the access token of a session.
provider.use(async (ctx, next) => {
  if (ctx.path !== "/login") return next();
  const { sub, claims } = ctx.query;
  accounts.set(sub, JSON.parse(claims));
  const client = await provider.Client.find("drystone");
  const grant = new provider.Grant({ accountId: sub, clientId: client.clientId });
  grant.addOIDCScope("openid");
  const grantId = await grant.save();
  const token = new provider.AccessToken({ accountId: sub, client, grantId, scope: "openid", gty: "authorization_code" });
  ctx.body = await token.save();
});
provider.listen(Number(port), "127.0.0.1", () => console.log("ready"));
