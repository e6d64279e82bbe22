// Connection tokens (JWT, HS256) of the virtual users, made from REALTIME_TOKEN_SECRET; without it they are anonymous.

import { createHmac } from "node:crypto";

const encode = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");

export function connectRequest(user) {
  const secret = process.env.REALTIME_TOKEN_SECRET;
  if (!secret) return {};
  const body = `${encode({ alg: "HS256", typ: "JWT" })}.${encode({ sub: user })}`;
  return { token: `${body}.${createHmac("sha256", secret).update(body).digest("base64url")}` };
}
