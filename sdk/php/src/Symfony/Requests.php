<?php

declare(strict_types=1);

namespace Edge\Symfony;

use Edge\Http\Request;
use Edge\Http\UploadedFile;
use Edge\Http\Worker;
use Symfony\Component\HttpFoundation\File\UploadedFile as SymfonyFile;
use Symfony\Component\HttpFoundation\HeaderBag;
use Symfony\Component\HttpFoundation\Request as SymfonyRequest;
use Symfony\Component\HttpFoundation\ServerBag;

/**
 * Makes the HttpFoundation request that the application would have got from PHP's superglobals, without the way through them:
 * the bags that cost most, $server and $headers, are filled with finished arrays.
 */
final class Requests
{
    /** The names of headers that are remembered in their other spellings; clients could send any number of different ones. */
    private const REMEMBERED = 256;

    /** What PHP has in $_FILES for a field that was left empty; Symfony makes null of it. */
    private const NO_FILE = ['error' => \UPLOAD_ERR_NO_FILE, 'name' => '', 'size' => 0, 'tmp_name' => '', 'type' => ''];

    /** Of the process, not of a request. */
    private const NOT_INHERITED = [
        'argc', 'argv', 'DOCUMENT_ROOT', 'PATH_TRANSLATED', 'PHP_SELF', 'REMOTE_ADDR', 'REQUEST_TIME', 'REQUEST_TIME_FLOAT', 'SCRIPT_FILENAME',
        'SCRIPT_NAME', 'QUERY_STRING', 'REQUEST_METHOD', 'REQUEST_URI', 'CONTENT_TYPE', 'CONTENT_LENGTH', 'HTTPS', 'PATH_INFO',
    ];

    /** Sets the base URL of a request, which HttpFoundation would work out from $server, a step of every request. */
    private readonly \Closure $rooted;

    /** @var array<string, mixed> What $server has for every request. */
    private readonly array $base;

    /** @var array<string, array{string, string}> HTTP_USER_AGENT and user-agent by User-Agent. */
    private array $names = ['Content-Type' => ['CONTENT_TYPE', 'content-type'], 'Content-Length' => ['CONTENT_LENGTH', 'content-length']];

    /**
     * @param class-string<SymfonyRequest> $class what to make, such as Illuminate's
     * @param class-string<SymfonyFile>    $file
     * @param bool                         $emptyFiles whether a file field that was left empty is there, as null
     * @param bool                         $superglobals whether $_SERVER, $_GET, $_POST and $_COOKIE are set, too
     */
    public function __construct(
        private readonly string $class = SymfonyRequest::class,
        private readonly string $file = SymfonyFile::class,
        private readonly bool $emptyFiles = true,
        private readonly bool $superglobals = true,
    ) {
        $this->base = self::base();
        $this->rooted = \Closure::bind(static function (SymfonyRequest $request): void {
            $request->baseUrl = '';
        }, null, SymfonyRequest::class);
    }

    /**
     * The attributes of the request are those that middleware of the server has attached; edge.worker is the Edge\Http\Worker, whose
     * earlyHints() sends a 103.
     */
    public function make(Request $request, ?Worker $worker = null): SymfonyRequest
    {
        $headers = [];
        $server = $this->server($request, $headers);
        $query = $request->queryString === '' ? [] : $request->query;
        $form = $request->form;
        $cookies = isset($headers['cookie']) ? $request->cookies : [];
        $files = $request->files;
        if ($this->superglobals) {
            $_SERVER = $server;
            $_GET = $query;
            $_POST = $form;
            $_COOKIE = $cookies;
            $_REQUEST = $form + $query;
            $_FILES = [];
        }

        $made = new $this->class(
            $query,
            $form,
            self::attributes($request->attributes, $worker),
            $cookies,
            $files === [] ? [] : $this->files($files),
            [],
            // A body that waits in a file stays there: getContent(true) reads from it piece by piece.
            $request->bodyFile === null ? $request->body : $request->bodyStream(),
        );
        $made->server = new ServerBag($server);
        $made->headers = isset($headers['authorization']) ? new HeaderBag($made->server->getHeaders()) : new Headers($headers);
        $path = $request->path;
        if (!\str_starts_with($path, '/index.php') && !\str_contains($path, '%')) {
            ($this->rooted)($made);
        }

        return $made;
    }

    /**
     * @param array<string, list<string>> $headers gets the headers, by lower-case name
     *
     * @return array<string, mixed>
     */
    private function server(Request $request, array &$headers): array
    {
        $server = $this->base;
        foreach ($request->headers as $name => $values) {
            [$key, $lower] = $this->names[$name] ?? $this->names((string) $name);
            $value = isset($values[1]) ? \implode($lower === 'cookie' ? '; ' : ', ', $values) : $values[0] ?? '';
            $server[$key] = $value;
            $headers[$lower] = [$value];
        }

        // HTTP clients take it for a variable of the environment.
        unset($server['HTTP_PROXY']);
        $host = $request->host;
        $server['HTTP_HOST'] = $host;
        $headers['host'] = [$host];
        $uri = $request->uri;
        $secure = \str_starts_with($uri, 'https:');
        $colon = \strrpos($host, ':');
        if ($colon !== false && \strpos($host, ']', $colon) === false) {
            $server['SERVER_NAME'] = \substr($host, 0, $colon);
            $server['SERVER_PORT'] = \substr($host, $colon + 1);
        } else {
            $server['SERVER_NAME'] = $host;
            $server['SERVER_PORT'] = $secure ? '443' : '80';
        }
        if ($secure) {
            $server['HTTPS'] = 'on';
            $server['REQUEST_SCHEME'] = 'https';
        } else {
            $server['REQUEST_SCHEME'] = 'http';
        }
        $query = $request->queryString;
        $now = \microtime(true);
        $server['REQUEST_METHOD'] = $request->method;
        $server['REQUEST_URI'] = $query === '' ? $request->path : "$request->path?$query";
        $server['QUERY_STRING'] = $query;
        $server['SERVER_PROTOCOL'] = $request->protocol;
        $server['REMOTE_ADDR'] = $request->remoteAddr;
        $server['REQUEST_TIME'] = (int) $now;
        $server['REQUEST_TIME_FLOAT'] = $now;
        if (isset($headers['authorization'])) {
            $server += self::credentials($headers['authorization'][0]);
        }

        return $server;
    }

    /**
     * @param array<string, list<string>> $attached
     *
     * @return array<string, mixed>
     */
    private static function attributes(array $attached, ?Worker $worker): array
    {
        $attributes = ['edge.worker' => $worker];
        foreach ($attached as $name => $values) {
            // Symfony's own begin with an underscore: _controller, _route.
            if (($name[0] ?? '_') !== '_') {
                $attributes[$name] = $values[0] ?? '';
            }
        }

        return $attributes;
    }

    /** @return array{string, string} */
    private function names(string $name): array
    {
        $names = ['HTTP_' . \strtoupper(\strtr($name, '-', '_')), \strtolower($name)];
        if (\count($this->names) < self::REMEMBERED) {
            $this->names[$name] = $names;
        }

        return $names;
    }

    /**
     * What PHP itself makes of the header Authorization.
     *
     * @return array<string, string>
     */
    private static function credentials(string $authorization): array
    {
        if (\stripos($authorization, 'basic ') === 0) {
            $pair = \explode(':', (string) \base64_decode(\substr($authorization, 6)), 2);

            return \count($pair) === 2 ? ['PHP_AUTH_USER' => $pair[0], 'PHP_AUTH_PW' => $pair[1]] : [];
        }

        return \stripos($authorization, 'digest ') === 0 ? ['PHP_AUTH_DIGEST' => \substr($authorization, 7)] : [];
    }

    /**
     * @param array<mixed> $tree
     *
     * @return array<mixed>
     */
    private function files(array $tree): array
    {
        foreach ($tree as $name => $node) {
            if (!$node instanceof UploadedFile) {
                $tree[$name] = $this->files($node);
            } elseif ($node->error === \UPLOAD_ERR_NO_FILE) {
                $tree[$name] = self::NO_FILE;
                if (!$this->emptyFiles) {
                    unset($tree[$name]);
                }
            } else {
                // "test" says that PHP itself did not receive the file: is_uploaded_file() knows nothing of it, and move() renames.
                $tree[$name] = new $this->file($node->path, $node->clientName, $node->clientType, $node->error, true);
            }
        }

        return $tree;
    }

    /** @return array<string, mixed> */
    private static function base(): array
    {
        $script = \realpath($_SERVER['SCRIPT_FILENAME'] ?? '') ?: __FILE__;
        $base = \array_diff_key($_SERVER, \array_flip(self::NOT_INHERITED));
        // What looks like a header must come from a request.
        $base = \array_filter($base, static fn ($name): bool => !\str_starts_with((string) $name, 'HTTP_'), \ARRAY_FILTER_USE_KEY);

        return [
            'SERVER_SOFTWARE' => 'edge/' . (\getenv('EDGE_VERSION') ?: 'dev'),
            'GATEWAY_INTERFACE' => 'CGI/1.1',
            'DOCUMENT_ROOT' => \dirname($script),
            'SCRIPT_FILENAME' => \dirname($script) . '/index.php',
            'SCRIPT_NAME' => '/index.php',
            'PHP_SELF' => '/index.php',
        ] + $base;
    }
}
