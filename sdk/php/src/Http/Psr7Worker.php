<?php

declare(strict_types=1);

namespace Edge\Http;

use Edge\Worker as Process;
use Nyholm\Psr7\Factory\Psr17Factory;
use Psr\Http\Message\ResponseInterface;
use Psr\Http\Message\ServerRequestFactoryInterface;
use Psr\Http\Message\ServerRequestInterface;
use Psr\Http\Message\StreamFactoryInterface;
use Psr\Http\Message\StreamInterface;
use Psr\Http\Message\UploadedFileFactoryInterface;

/**
 * Serves PSR-7 requests, for frameworks that speak PSR-7. It needs PSR-17 factories and finds those of nyholm/psr7 by itself.
 * Edge\Psr15\Worker is the same for PSR-15 handlers and middleware.
 *
 *     (new Psr7Worker())->serve(fn (ServerRequestInterface $request) => $app->handle($request));
 *
 * The attribute edge.worker of a request is the Worker, whose earlyHints() sends a 103.
 */
final class Psr7Worker
{
    /** Bodies up to this size are sent in one frame, larger ones and those of unknown size in pieces of PIECE bytes. */
    private const WHOLE = 1 << 20;
    private const PIECE = 64 << 10;

    private readonly Worker $worker;
    private readonly ?Process $process;
    private readonly ServerRequestFactoryInterface $requests;
    private readonly StreamFactoryInterface $streams;
    private readonly UploadedFileFactoryInterface $files;

    /** Whether all objects are nyholm's, so that they need not be made before somebody asks: see Psr7Request. */
    private readonly bool $lazy;

    public function __construct(
        ?ServerRequestFactoryInterface $requests = null,
        ?StreamFactoryInterface $streams = null,
        ?UploadedFileFactoryInterface $files = null,
        ?Worker $worker = null,
    ) {
        $this->requests = $requests ?? self::factory();
        $this->streams = $streams ?? self::factory();
        $this->files = $files ?? self::factory();
        $this->lazy = [$this->requests::class, $this->streams::class, $this->files::class] === [Psr17Factory::class, Psr17Factory::class, Psr17Factory::class];
        $this->process = $worker === null ? Process::create() : null;
        $this->worker = $worker ?? new Worker($this->process);
    }

    /**
     * Calls the handler for one request after the other until the server tells the worker to stop. An exception answers 500, with
     * its text in the server's log, and the worker goes on.
     *
     * @param callable(ServerRequestInterface): ResponseInterface $handler
     */
    public function serve(callable $handler): void
    {
        while (($request = $this->waitRequest()) !== null) {
            try {
                $this->respond($handler($request));
            } catch (\Throwable $e) {
                $this->worker->error((string) $e);
            }
            // What the request holds is let go before the wait for the next one.
            $request = null;
            Leftovers::clearSession();
            $this->process?->endBuffers();
        }
    }

    /**
     * Waits for a request; null means that the worker is to end. Answer each with respond() or error(). A request that cannot be
     * expressed in PSR-7 is answered here.
     */
    public function waitRequest(): ?ServerRequestInterface
    {
        while (($request = $this->worker->wait()) !== null) {
            try {
                return $this->toPsr($request);
            } catch (\Throwable $e) {
                $this->worker->error((string) $e);
            }
        }

        return null;
    }

    public function respond(ResponseInterface $response): void
    {
        $headers = [];
        foreach ($response->getHeaders() as $name => $values) {
            // The usual header has one value; a list of strings costs more to write.
            $headers[$name] = isset($values[1]) ? $values : $values[0] ?? '';
        }
        $body = $response->getBody();
        $size = $body->getSize();
        // A pipe says that it has no bytes: what cannot be rewound is sent as it comes.
        $whole = $size !== null && $size <= self::WHOLE && $body->isSeekable();
        $this->worker->send($response->getStatusCode(), $headers, $whole ? (string) $body : self::pieces($body));
    }

    /** Reports that the request failed: the client gets a 500, the text goes to the log of the server. */
    public function error(string $text): void
    {
        $this->worker->error($text);
    }

    private function toPsr(Request $request): ServerRequestInterface
    {
        return $this->lazy ? new Psr7Request($request, $this->worker) : $this->foreignRequest($request);
    }

    private function foreignRequest(Request $request): ServerRequestInterface
    {
        $psr = $this->requests->createServerRequest($request->method, $request->uri, Psr7Request::serverParams($request, \microtime(true)))
            ->withProtocolVersion(\substr($request->protocol, 5) ?: '1.1');
        foreach ($request->headers as $name => $values) {
            $psr = $psr->withHeader((string) $name, $values);
        }
        if ($request->bodyFile !== null) {
            $psr = $psr->withBody($this->streams->createStreamFromResource($request->bodyStream()));
        } elseif ($request->body !== '') {
            $psr = $psr->withBody($this->streams->createStream($request->body));
        }
        if ($request->cookies !== []) {
            $psr = $psr->withCookieParams($request->cookies);
        }
        if ($request->queryString !== '') {
            $psr = $psr->withQueryParams($request->query);
        }
        if ($request->form !== []) {
            $psr = $psr->withParsedBody($request->form);
        }
        if ($request->files !== []) {
            $psr = $psr->withUploadedFiles($this->toPsrFiles($request->files));
        }
        foreach (Psr7Request::attributes($request, $this->worker) as $name => $value) {
            $psr = $psr->withAttribute((string) $name, $value);
        }

        return $psr;
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
            } else {
                $stream = $node->error === \UPLOAD_ERR_OK
                    ? $this->streams->createStreamFromFile($node->path)
                    : $this->streams->createStream();
                $tree[$name] = $this->files->createUploadedFile($stream, $node->size, $node->error, $node->clientName, $node->clientType);
            }
        }

        return $tree;
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

    private static function factory(): Psr17Factory
    {
        static $factory;
        if (!\class_exists(Psr17Factory::class)) {
            throw new \LogicException('no PSR-17 factories: run "composer require nyholm/psr7", or pass those of another package');
        }

        return $factory ??= new Psr17Factory();
    }
}
