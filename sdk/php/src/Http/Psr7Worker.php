<?php

declare(strict_types=1);

namespace Edge\Http;

use Psr\Http\Message\ResponseInterface;
use Psr\Http\Message\ServerRequestFactoryInterface;
use Psr\Http\Message\ServerRequestInterface;
use Psr\Http\Message\StreamFactoryInterface;
use Psr\Http\Message\StreamInterface;
use Psr\Http\Message\UploadedFileFactoryInterface;

/**
 * Serves PSR-7 requests, for frameworks that speak PSR-7 or PSR-15. It needs PSR-17 factories and finds those of nyholm/psr7
 * by itself.
 *
 *     (new Psr7Worker())->serve(fn (ServerRequestInterface $request) => $app->handle($request));
 */
final class Psr7Worker
{
    /** Bodies up to this size are sent in one frame, larger ones and those of unknown size in pieces of PIECE bytes. */
    private const WHOLE = 1 << 20;
    private const PIECE = 64 << 10;

    private readonly Worker $worker;
    private readonly ServerRequestFactoryInterface $requests;
    private readonly StreamFactoryInterface $streams;
    private readonly UploadedFileFactoryInterface $files;

    public function __construct(
        ?ServerRequestFactoryInterface $requests = null,
        ?StreamFactoryInterface $streams = null,
        ?UploadedFileFactoryInterface $files = null,
        ?Worker $worker = null,
    ) {
        $this->requests = $requests ?? self::factory();
        $this->streams = $streams ?? self::factory();
        $this->files = $files ?? self::factory();
        $this->worker = $worker ?? new Worker();
    }

    /** @param callable(ServerRequestInterface): ResponseInterface $handler */
    public function serve(callable $handler): void
    {
        $this->worker->serve(fn (Request $request): Response => $this->fromPsr($handler($this->toPsr($request))));
    }

    /** Waits for a request; null means that the worker is to end. Answer each with respond() or error(). */
    public function waitRequest(): ?ServerRequestInterface
    {
        $request = $this->worker->wait();

        return $request === null ? null : $this->toPsr($request);
    }

    public function respond(ResponseInterface $response): void
    {
        $plain = $this->fromPsr($response);
        $this->worker->send($plain->status, $plain->headers, $plain->body);
    }

    /** Reports that the request failed: the client gets a 500, the text goes to the log of the server. */
    public function error(string $text): void
    {
        $this->worker->error($text);
    }

    private function toPsr(Request $request): ServerRequestInterface
    {
        $psr = $this->requests->createServerRequest($request->method, $request->uri, self::serverParams($request))
            ->withProtocolVersion(\substr($request->protocol, 5) ?: '1.1');
        foreach ($request->headers as $name => $values) {
            $psr = $psr->withHeader((string) $name, $values);
        }
        if ($request->cookies !== []) {
            $psr = $psr->withCookieParams($request->cookies);
        }
        if ($request->query !== []) {
            $psr = $psr->withQueryParams($request->query);
        }
        if ($request->form !== []) {
            $psr = $psr->withParsedBody($request->form);
        }
        if ($request->files !== []) {
            $psr = $psr->withUploadedFiles($this->toPsrFiles($request->files));
        }
        foreach ($request->attributes as $name => $values) {
            $psr = $psr->withAttribute((string) $name, $values[0] ?? '');
        }
        if ($request->bodyFile !== null) {
            return $psr->withBody($this->streams->createStreamFromResource($request->bodyStream()));
        }

        return $request->body === '' ? $psr : $psr->withBody($this->streams->createStream($request->body));
    }

    /** @return array<string, mixed> */
    private static function serverParams(Request $request): array
    {
        $now = \microtime(true);

        return [
            'REQUEST_METHOD' => $request->method,
            'REQUEST_URI' => $request->path . ($request->queryString === '' ? '' : '?' . $request->queryString),
            'QUERY_STRING' => $request->queryString,
            'SERVER_PROTOCOL' => $request->protocol,
            'REMOTE_ADDR' => $request->remoteAddr,
            'REQUEST_TIME' => (int) $now,
            'REQUEST_TIME_FLOAT' => $now,
        ] + (\str_starts_with($request->uri, 'https:') ? ['HTTPS' => 'on'] : []);
    }

    /**
     * @param array<mixed> $tree
     *
     * @return array<mixed>
     */
    private function toPsrFiles(array $tree): array
    {
        foreach ($tree as $name => $node) {
            if (\is_array($node)) {
                $tree[$name] = $this->toPsrFiles($node);
                continue;
            }
            $stream = $node->error === \UPLOAD_ERR_OK
                ? $this->streams->createStreamFromFile($node->path)
                : $this->streams->createStream();
            $tree[$name] = $this->files->createUploadedFile($stream, $node->size, $node->error, $node->clientName, $node->clientType);
        }

        return $tree;
    }

    private function fromPsr(ResponseInterface $response): Response
    {
        $body = $response->getBody();
        $size = $body->getSize();
        if ($size !== null && $size <= self::WHOLE) {
            return new Response($response->getStatusCode(), $response->getHeaders(), (string) $body);
        }

        return new Response($response->getStatusCode(), $response->getHeaders(), self::pieces($body));
    }

    /** @return \Generator<string> */
    private static function pieces(StreamInterface $body): \Generator
    {
        try {
            if ($body->isSeekable()) {
                $body->rewind();
            }
            while (!$body->eof()) {
                $piece = $body->read(self::PIECE);
                if ($piece !== '') {
                    yield $piece;
                }
            }
        } finally {
            $body->close();
        }
    }

    private static function factory(): \Nyholm\Psr7\Factory\Psr17Factory
    {
        static $factory;
        if (!\class_exists(\Nyholm\Psr7\Factory\Psr17Factory::class)) {
            throw new \LogicException('no PSR-17 factories: run "composer require nyholm/psr7", or pass those of another package');
        }

        return $factory ??= new \Nyholm\Psr7\Factory\Psr17Factory();
    }
}
