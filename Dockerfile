# Two stages: what builds is not what runs.
FROM node:22-bookworm-slim AS build
WORKDIR /src
COPY package.json package-lock.json ./
RUN npm ci
COPY . .
RUN npm run build && npm prune --omit=dev

FROM node:22-bookworm-slim
ENV NODE_ENV=production \
    UV_THREADPOOL_SIZE=16 \
    SLIPWAY_DATA=/var/lib/slipway \
    SLIPWAY_LOG_FORMAT=json
WORKDIR /opt/slipway
COPY --from=build /src/package.json ./
COPY --from=build /src/node_modules ./node_modules
COPY --from=build /src/bin ./bin
COPY --from=build /src/dist ./dist
RUN useradd --system --uid 10001 --home-dir /var/lib/slipway slipway \
    && install -d -o slipway -g slipway /var/lib/slipway
USER slipway
VOLUME /var/lib/slipway
EXPOSE 5000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=6s --start-period=30s \
  CMD ["node", "-e", "fetch('http://127.0.0.1:5000/readyz').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["bin/slipway.cjs"]
CMD ["serve"]
