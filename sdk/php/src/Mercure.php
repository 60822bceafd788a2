<?php

declare(strict_types=1);

namespace Edge;

use Edge\Exception\MercureException;
use Edge\Exception\RPCException;
use Edge\Exception\UnknownMethodException;

/**
 * Publishes to the Mercure hub of the server (ws.mercure), and makes what pages need to subscribe:
 *
 *     $mercure = new Mercure(getenv('MERCURE_SECRET'));
 *     $mercure->publish('https://example.com/books/1', json_encode($book), private: true);
 *
 *     $headers['Link'] = $mercure->link();
 *     $headers['Set-Cookie'] = $mercure->cookie(['https://example.com/books/{id}']);
 *
 * Publishing goes over the connection that the worker has to its server: no HTTP, no token.
 */
final class Mercure
{
    private readonly RPC $rpc;

    /**
     * @param string $secret the one of ws.mercure.subscriber, or publisher; only needed for tokens
     * @param string $url    of the hub, as pages see it
     */
    public function __construct(#[\SensitiveParameter] private readonly string $secret = '', private readonly string $url = '/.well-known/mercure', ?RPC $rpc = null)
    {
        $this->rpc = $rpc ?? new RPC();
    }

    /**
     * Publishes an update, which is stored when the call returns.
     *
     * @param string|string[] $topics  the first is the canonical one, the others are alternate ones
     * @param bool            $private only for subscribers whose token allows one of the topics
     * @param string|null     $id      the hub's choice if there is none
     * @param string|null     $type    of the event; pages listen with addEventListener()
     * @param int|null        $retry   milliseconds after which clients that lose the stream come back
     *
     * @return string the id
     */
    public function publish(string|array $topics, string $data = '', bool $private = false, ?string $id = null, ?string $type = null, ?int $retry = null): string
    {
        $update = [
            'topics' => \array_values((array) $topics), 'data' => $data, 'private' => $private,
            'id' => $id ?? '', 'type' => $type ?? '', 'retry' => $retry === null ? '' : (string) $retry,
        ];
        try {
            return $this->rpc->call('mercure.Publish', $update);
        } catch (UnknownMethodException $e) {
            throw new MercureException('the server has no section ws.mercure in its edge.yaml', $e->method);
        } catch (RPCException $e) {
            throw new MercureException($e->getMessage(), $e->method);
        }
    }

    /** The Link header by which clients find the hub, with the topic of the resource if there is one. */
    public function link(?string $topic = null): string
    {
        return "<$this->url>; rel=\"mercure\"" . ($topic === null ? '' : ", <$topic>; rel=\"self\"");
    }

    /**
     * A token (HS256) that lets its bearer subscribe to private updates, or publish.
     *
     * @param string[] $subscribe topics or templates
     * @param string[] $publish   the same
     * @param mixed    $payload   shown to others with the subscriptions
     * @param int      $ttl       seconds; the stream ends with the token
     */
    public function token(array $subscribe = [], array $publish = [], mixed $payload = null, int $ttl = 3600, ?string $user = null): string
    {
        if (\strlen($this->secret) < 32) {
            throw new \LogicException('Edge\\Mercure makes tokens only with the secret of ws.mercure, which has at least 32 characters');
        }
        $mercure = ['subscribe' => \array_values($subscribe), 'publish' => \array_values($publish)];
        if ($payload !== null) {
            $mercure['payload'] = $payload;
        }
        $claims = ['mercure' => $mercure, 'exp' => \time() + $ttl];
        if ($user !== null) {
            $claims['sub'] = $user;
        }
        $text = self::encode('{"alg":"HS256","typ":"JWT"}') . '.'
            . self::encode(\json_encode($claims, \JSON_THROW_ON_ERROR | \JSON_UNESCAPED_SLASHES | \JSON_UNESCAPED_UNICODE));

        return $text . '.' . self::encode(\hash_hmac('sha256', $text, $this->secret, true));
    }

    /**
     * The Set-Cookie header that lets a page subscribe to private updates. The hub must be on the same site.
     *
     * @param string[] $subscribe topics or templates
     */
    public function cookie(array $subscribe, mixed $payload = null, int $ttl = 3600, bool $secure = true): string
    {
        $path = \parse_url($this->url, \PHP_URL_PATH) ?: '/';

        return 'mercureAuthorization=' . $this->token($subscribe, [], $payload, $ttl) . "; Path=$path; Max-Age=$ttl; HttpOnly; SameSite=Strict" . ($secure ? '; Secure' : '');
    }

    private static function encode(string $bytes): string
    {
        return \rtrim(\strtr(\base64_encode($bytes), '+/', '-_'), '=');
    }
}
