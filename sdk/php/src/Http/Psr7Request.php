<?php

declare(strict_types=1);

namespace Edge\Http;

use Nyholm\Psr7\ServerRequest;
use Nyholm\Psr7\Stream;
use Nyholm\Psr7\UploadedFile as NyholmFile;
use Nyholm\Psr7\Uri;
use Psr\Http\Message\MessageInterface;
use Psr\Http\Message\RequestInterface;
use Psr\Http\Message\ServerRequestInterface;
use Psr\Http\Message\StreamInterface;
use Psr\Http\Message\UriInterface;

/**
 * A PSR-7 request of which only that is made which the application looks at: most handlers want the URI, some attributes and
 * perhaps the body. Attributes are added to a copy of it. Whoever changes anything else gets nyholm's request instead, with
 * everything in it.
 *
 * Parameters have no types, so that it goes with every version of psr/http-message.
 *
 * @internal Psr7Worker makes it when it was given no factories.
 */
final class Psr7Request implements ServerRequestInterface
{
    /** Made at once: what is no URI for PSR-7 has to show before the application sees the request. */
    private readonly UriInterface $uri;
    private readonly float $time;

    /** @var array<string, list<string>>|null with the host, as the names are written */
    private ?array $headers = null;

    /** @var array<string, list<string>>|null by names in small letters */
    private ?array $byName = null;
    private ?StreamInterface $body = null;

    /** @var array<string, mixed>|null */
    private ?array $params = null;

    /** @var array<mixed>|null */
    private ?array $files = null;

    /** @var array<string, mixed>|null */
    private ?array $attributes = null;

    public function __construct(private readonly Request $request, private readonly Worker $worker)
    {
        $this->uri = new Uri($request->uri);
        $this->time = \microtime(true);
    }

    public function getMethod(): string
    {
        return $this->request->method;
    }

    public function getUri(): UriInterface
    {
        return $this->uri;
    }

    public function getRequestTarget(): string
    {
        $target = $this->uri->getPath();
        $query = $this->uri->getQuery();

        return ($target === '' ? '/' : $target) . ($query === '' ? '' : "?$query");
    }

    public function getProtocolVersion(): string
    {
        return \substr($this->request->protocol, 5) ?: '1.1';
    }

    public function getHeaders(): array
    {
        return $this->headers ??= $this->withHost($this->request->headers);
    }

    public function hasHeader($name): bool
    {
        return $this->getHeader($name) !== [];
    }

    public function getHeader($name): array
    {
        $this->byName ??= \array_change_key_case($this->getHeaders());

        return $this->byName[\strtolower($name)] ?? [];
    }

    public function getHeaderLine($name): string
    {
        return \implode(', ', $this->getHeader($name));
    }

    public function getBody(): StreamInterface
    {
        return $this->body ??= Stream::create($this->request->bodyFile === null ? $this->request->body : $this->request->bodyStream());
    }

    public function getServerParams(): array
    {
        return $this->params ??= self::serverParams($this->request, $this->time);
    }

    public function getCookieParams(): array
    {
        return $this->request->cookies;
    }

    public function getQueryParams(): array
    {
        return $this->request->query;
    }

    public function getUploadedFiles(): array
    {
        return $this->files ??= self::uploads($this->request->files);
    }

    public function getParsedBody(): ?array
    {
        return $this->request->form ?: null;
    }

    public function getAttributes(): array
    {
        return $this->attributes ??= self::attributes($this->request, $this->worker);
    }

    public function getAttribute($name, $default = null): mixed
    {
        $attributes = $this->attributes ?? $this->getAttributes();

        return \array_key_exists($name, $attributes) ? $attributes[$name] : $default;
    }

    public function withAttribute($name, $value): ServerRequestInterface
    {
        $copy = $this->copy();
        $copy->attributes[$name] = $value;

        return $copy;
    }

    public function withoutAttribute($name): ServerRequestInterface
    {
        $copy = $this->copy();
        unset($copy->attributes[$name]);

        return $copy;
    }

    public function withProtocolVersion($version): MessageInterface
    {
        return $this->whole()->withProtocolVersion($version);
    }

    public function withHeader($name, $value): MessageInterface
    {
        return $this->whole()->withHeader($name, $value);
    }

    public function withAddedHeader($name, $value): MessageInterface
    {
        return $this->whole()->withAddedHeader($name, $value);
    }

    public function withoutHeader($name): MessageInterface
    {
        return $this->whole()->withoutHeader($name);
    }

    public function withBody(StreamInterface $body): MessageInterface
    {
        return $this->whole()->withBody($body);
    }

    public function withRequestTarget($requestTarget): RequestInterface
    {
        return $this->whole()->withRequestTarget($requestTarget);
    }

    public function withMethod($method): RequestInterface
    {
        return $this->whole()->withMethod($method);
    }

    public function withUri(UriInterface $uri, $preserveHost = false): RequestInterface
    {
        return $this->whole()->withUri($uri, $preserveHost);
    }

    public function withCookieParams(array $cookies): ServerRequestInterface
    {
        return $this->whole()->withCookieParams($cookies);
    }

    public function withQueryParams(array $query): ServerRequestInterface
    {
        return $this->whole()->withQueryParams($query);
    }

    public function withUploadedFiles(array $uploadedFiles): ServerRequestInterface
    {
        return $this->whole()->withUploadedFiles($uploadedFiles);
    }

    public function withParsedBody($data): ServerRequestInterface
    {
        return $this->whole()->withParsedBody($data);
    }

    /**
     * @internal
     *
     * @return array<string, mixed> the first value of each attribute, and the worker
     */
    public static function attributes(Request $request, Worker $worker): array
    {
        $attributes = [];
        foreach ($request->attributes as $name => $values) {
            $attributes[$name] = $values[0] ?? '';
        }
        $attributes['edge.worker'] = $worker;

        return $attributes;
    }

    /**
     * @internal
     *
     * @return array<string, mixed> what a PSR-7 request takes from $_SERVER
     */
    public static function serverParams(Request $request, float $time): array
    {
        return [
            'REQUEST_METHOD' => $request->method,
            'REQUEST_URI' => $request->path . ($request->queryString === '' ? '' : '?' . $request->queryString),
            'QUERY_STRING' => $request->queryString,
            'SERVER_PROTOCOL' => $request->protocol,
            'REMOTE_ADDR' => $request->remoteAddr,
            'REQUEST_TIME' => (int) $time,
            'REQUEST_TIME_FLOAT' => $time,
        ] + (\str_starts_with($request->uri, 'https:') ? ['HTTPS' => 'on'] : []);
    }

    /** A copy that differs in its attributes. It has the same body, and the same position in it. */
    private function copy(): self
    {
        $this->getAttributes();
        if ($this->body === null && ($this->request->bodyFile !== null || $this->request->body !== '')) {
            $this->getBody();
        }

        return clone $this;
    }

    /** The request in nyholm's class, for what is not worth doing twice. */
    private function whole(): ServerRequestInterface
    {
        $request = (new ServerRequest(
            $this->getMethod(),
            $this->uri,
            $this->getHeaders(),
            $this->getBody(),
            $this->getProtocolVersion(),
            $this->getServerParams(),
        ))
            ->withCookieParams($this->getCookieParams())
            ->withQueryParams($this->getQueryParams())
            ->withUploadedFiles($this->getUploadedFiles())
            ->withParsedBody($this->getParsedBody());
        foreach ($this->getAttributes() as $name => $value) {
            $request = $request->withAttribute((string) $name, $value);
        }

        return $request;
    }

    /**
     * Puts the host before the headers, where RFC 9110 wants it. The server has it in the URI.
     *
     * @param array<string, list<string>> $headers
     *
     * @return array<string, list<string>>
     */
    private function withHost(array $headers): array
    {
        $host = $this->uri->getHost();
        if ($host === '' || isset($headers['Host'])) {
            return $headers;
        }
        $port = $this->uri->getPort();

        return ['Host' => [$port === null ? $host : "$host:$port"]] + $headers;
    }

    /**
     * @param array<mixed> $tree
     *
     * @return array<mixed>
     */
    private static function uploads(array $tree): array
    {
        foreach ($tree as $name => $node) {
            // With a path instead of a stream moveTo() renames instead of copying.
            $tree[$name] = \is_array($node)
                ? self::uploads($node)
                : new NyholmFile($node->path, $node->size, $node->error, $node->clientName, $node->clientType);
        }

        return $tree;
    }
}
