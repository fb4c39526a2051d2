// Writes handlebars.json beside this file: what Handlebars 4.7 (npm, MIT) makes of each template below.
// Run: npm install --no-save handlebars@4.7 && node tests/template/data/generate.js
const fs = require('fs');
const path = require('path');
const Handlebars = require('handlebars');

const context = {
  name: 'Ann & "Bob" <it\'s `x`=y>', empty: '', zero: 0, minus: -1.5, yes: true, no: false, nothing: null,
  person: {name: 'Dana', 'full name': 'Dana Levi', this: 'own', length: 'own length', 'a]b': 'bracket', '0': 'zeroth'},
  list: ['a', 'b', {name: 'third'}], deep: [[1, null, [true, 'x']], []], numbers: [10, 20], emoji: '👩‍🚀', 'é': 'accent',
  'a-b': 'dash', 'a:b': 'colon', else_x: 'not else', trueish: 'not true', as: 'not as', lines: 'x\ny',
};

const templates = [
  '', 'text', '{{name}}', '{{{name}}}', '{{&name}}', '{{& name }}', '{{ name }}', '{{\nname\n}}', '{{{ name }}}',
  '{{empty}}|{{zero}}|{{minus}}|{{yes}}|{{no}}|{{nothing}}|{{missing}}', '{{{zero}}}|{{{no}}}|{{{nothing}}}|{{{missing}}}',
  '{{person.name}}', '{{person/name}}', '{{person.[full name]}}', '{{person.[name]}}', '{{[person].name}}', '{{person}}',
  '{{this.name}}', '{{./person.name}}', '{{this/person/name}}', '{{person.[this]}}', '{{person.length}}',
  '{{person.[a\\]b]}}', '{{person.[0]}}', '{{list.[0]}}{{list.[1]}}{{list.[9]}}', '{{list.[2].name}}', '{{list.2.name}}',
  '{{list.length}}', '{{name.length}}', '{{name.[0]}}', '{{emoji.[1]}}', '{{name.[99]}}', '{{emoji.length}}', '{{list}}', '{{{list}}}', '{{deep}}', '{{deep.[0].[2].[1]}}',
  '{{deep.[1].length}}', '{{numbers}}', '{{list.[00]}}', '{{list.[-1]}}', '{{list.name}}', '{{name.first}}', '{{zero.x}}',
  '{{nothing.x.y}}', '{{missing.x.y}}', '{{yes.x}}', '{{@root.person.name}}', '{{@root.list.[2].name}}', '{{é}}', '{{a-b}}',
  '{{a:b}}', '{{else_x}}', '{{trueish}}', '{{as}}', '{{person.as}}', '{{person.true.x}}',
  '\\{{name}}', '\\{{name}} {{zero}}', '\\\\{{zero}}', '\\\\\\{{zero}}', 'a\\b{{zero}}', '\\{{a}}\\{{b}}{{zero}}',
  '\\{{{name}}} x', '{ {{zero}} }', '{{zero}} }}', '} {{zero}} {', '\\\\\\\\{{zero}}', '\\ {{zero}}',
  'a{{! comment }}b', 'a{{!-- }} --}}b', 'a{{!}}b', 'a{{!----}}b', 'a{{!--}}b', '{{! a }}{{! b }}x', 'a {{~! c ~}} b',
  'a\n{{! alone }}\nb', 'a\n  {{! alone }}  \nb', '{{! first }}\na', 'a\n{{! last }}', 'a\n{{!-- one\ntwo --}}\nb',
  'a {{! not alone }}\nb', 'a\r\n{{! alone }}\r\nb', '  {{! only }}  ', '\n\n{{! x }}\n\n', '{{! x }}\n{{! y }}\nz',
  '{{zero}}\n{{! x }}\nz', 'a\n{{! x }} {{zero}}\nb',
  'a {{~zero}} b', 'a {{zero~}} b', 'a {{~zero~}} b', 'a\n\n {{~zero~}} \n\n b', 'a {{~{name}~}} b', 'a {{{~name}}} b',
  'a {{~&zero~}} b', ' {{~zero~}} {{~zero~}} ', 'x {{~! c }} y', 'x {{! c ~}} y', '\u00a0{{~zero~}}\u2003y', '{{lines}}',
  '{{zero}}{{zero}}', '{{zero}} {{minus}}', '{{{name}}}{{name}}', 'é{{zero}}🙂', '{{zero}}\n', '\n{{zero}}\n\n',
];

// Blocks, partials and the rest: which texts are left once white space control is done, in the order of the tree.
const blocks = [
  '{{#if a}}b{{/if}}', '{{#if a}}\nb\n{{/if}}\nc', 'a\n{{#if b}}\n  c\n{{else}}\n  d\n{{/if}}\ne',
  'a\n  {{#if b}}  \n  c\n  {{else}}  \n  d\n  {{/if}}  \ne', 'a {{#if b}} c {{else}} d {{/if}} e',
  'a {{~#if b~}} c {{~else~}} d {{~/if~}} e', 'a {{#if b~}} c {{else~}} d {{/if~}} e', 'a {{~#if b}} c {{~else}} d {{~/if}} e',
  'a {{~#if b~}} c {{~^~}} d {{~/if~}} e', '{{#if b~}}\n c \n{{~/if}}', '{{^b}}\n c\n{{/b}}\nd', 'a\n{{^b}}\nc\n{{else}}\nd\n{{/b}}\ne',
  '{{#if a}}\nb\n{{else if c}}\nd\n{{/if}}\ne', '{{#if a}}\nb\n{{else if c}}\nd\n{{else}}\ne\n{{/if}}\nf',
  '{{#if a}} b {{~else if c~}} d {{~else if e~}} f {{~else~}} g {{~/if~}} h', '{{#if a}} b {{else if c}} d {{~/if}} e',
  '{{#if a}}\n{{#if b}}\nc\n{{/if}}\n{{/if}}\n', '{{#each a as |x y|}}\n{{x}}\n{{else}}\nnone\n{{/each}}\n', '{{#a}}{{/a}}', '{{#a}} {{/a}}',
  '{{#a}}\n{{/a}}', '\n{{#a}}\n\n{{/a}}\n', 'x{{#a}}\n{{/a}}y', '{{#a}}{{#b}}\n{{/b}}{{/a}}', '{{#a}}\r\nb\r\n{{/a}}\r\nc',
  'a\n{{> p}}\nb', 'a\n  {{> p}}  \nb', 'a {{> p}}\nb', 'a {{~> p~}} b', '{{> p x y=1}}', '{{>(a b) c}}', 'a\n{{#> p}}\nb\n{{/p}}\nc',
  '{{#> p}} b {{/p}}', '{{~#> p~}} b {{~/p~}}', '{{#*inline "m"}}\nb\n{{/inline}}\nc', '{{* d}} a', '{{{{r}}}} {{x}} {{{{/r}}}}',
  'a\n{{{{r}}}}\n{{x}}\n{{{{/r}}}}\nb', '{{{{r}}}}{{{{s}}}} {{{{/s}}}} x{{{{/r}}}}', '{{{{r a b=c}}}}{{{{/r}}}}',
  '{{a b c=d}} e', '{{a (b (c d) e=f)}}', '{{a "b" \'c\' 1 -2.5 true false null undefined @d ../e ./f this .}}', '{{lookup . @index}}',
  '{{"a b"}} {{12}} {{true}}', '{{@index}}{{@../key}}{{../../x}}', '{{#a b}}{{#c}}{{.}}{{/c}} {{/a}}', '{{! a }}\n{{#b}}\n{{! c }}\nd\n{{/b}}',
];

function texts(program) {
  const found = [];
  let isText = false;
  for (const node of program ? program.body : []) {
    if (node.type !== 'ContentStatement') {
      found.push(...texts(node.program), ...texts(node.inverse));
    } else if (isText) {
      found[found.length - 1] += node.value; // a raw block's text comes in pieces
    } else if (node.value !== '') {
      found.push(node.value);
    }
    isText = node.type === 'ContentStatement' && (isText || node.value !== '');
  }
  return found;
}

// What takes effect: blocks, variables, partials and the helpers that Handlebars has; [template, partials].
const event = {
  name: 'Ann & <b>', zero: 0, yes: true, no: false, nothing: null, empty: '', none: [], bare: {}, which: 'p', label: 'x=y',
  list: ['a', 'b', 'c'], one: ['only'], mixed: [1, 'x', true, null, {name: 'in'}], nested: [[1, 2], [], [3]],
  groups: [{name: 'g1', units: [{id: 1}, {id: 2}]}, {name: 'g2', units: []}, {name: 'g3'}],
  person: {name: 'Dana', mail: 'd@x', boss: {name: 'Rami', boss: {name: 'Eve'}}}, fields: {ticket: 'T-1', 'two words': 2, last: null},
  tree: {name: 'root', kids: [{name: 'a', kids: [{name: 'a1', kids: []}]}, {name: 'b', kids: []}]},
  index: 'own index', json: 'a field', 'a b': 'spaced', '12': 'twelve', true: 'tr', items: [{v: 0}, {v: ''}, {v: 'x'}],
};
const effects = [
  // if, unless, else
  '{{#if yes}}y{{/if}}', '{{#if no}}y{{/if}}', '{{#if no}}y{{else}}n{{/if}}', '{{#if nothing}}y{{else}}n{{/if}}', '{{#if missing}}y{{else}}n{{/if}}',
  '{{#if empty}}y{{else}}n{{/if}}', '{{#if none}}y{{else}}n{{/if}}', '{{#if bare}}y{{else}}n{{/if}}', '{{#if zero}}y{{else}}n{{/if}}', '{{#if list}}y{{/if}}',
  '{{#if zero includeZero=true}}y{{else}}n{{/if}}', '{{#if zero includeZero=false}}y{{else}}n{{/if}}', '{{#if empty includeZero=true}}y{{else}}n{{/if}}',
  '{{#if zero includeZero=yes}}y{{else}}n{{/if}}', '{{#if person.name}}{{person.name}}{{/if}}', '{{#if "text"}}y{{/if}}', '{{#if 0}}y{{else}}n{{/if}}',
  '{{#if ""}}y{{else}}n{{/if}}', '{{#if null}}y{{else}}n{{/if}}', '{{#if undefined}}y{{else}}n{{/if}}', '{{#if true}}y{{/if}}', '{{#if false}}y{{else}}n{{/if}}',
  '{{#unless yes}}u{{/unless}}', '{{#unless no}}u{{/unless}}', '{{#unless yes}}u{{else}}e{{/unless}}', '{{#unless zero}}u{{/unless}}',
  '{{#unless zero includeZero=true}}u{{else}}e{{/unless}}', '{{#if no}}1{{else if yes}}2{{else}}3{{/if}}', '{{#if no}}1{{else if nothing}}2{{else}}3{{/if}}',
  '{{#if no}}1{{else if no}}2{{else if yes}}3{{/if}}', '{{#if no}}1{{else unless no}}2{{/if}}', '{{#if no}}1{{else each list}}{{this}}{{/if}}',
  '{{#if no}}1{{else with person}}{{name}}{{else}}3{{/if}}', '{{^if yes}}a{{else}}b{{/if}}', '{{^if no}}a{{/if}}', '{{#if yes}}{{#if no}}1{{else}}2{{/if}}{{/if}}',
  '{{#if no}}1{{^}}2{{/if}}', '{{#if yes}}{{../name}}{{/if}}', '{{#if yes}}{{this.name}}{{/if}}', '{{#if yes}}{{.}}{{/if}}', '{{#if}}{{/if}}', '{{#if a b}}{{/if}}',
  // each
  '{{#each list}}{{this}}{{/each}}', '{{#each list}}{{.}},{{/each}}', '{{#each list}}{{@index}}:{{this}} {{/each}}', '{{#each list}}{{@key}}{{/each}}',
  '{{#each list}}{{#if @first}}[{{/if}}{{this}}{{#if @last}}]{{/if}}{{/each}}', '{{#each list}}{{this}}{{#unless @last}}, {{/unless}}{{/each}}',
  '{{#each list}}{{@first}}-{{@last}};{{/each}}', '{{#each one}}{{@first}}{{@last}}{{/each}}', '{{#each none}}x{{/each}}', '{{#each none}}x{{else}}empty{{/each}}',
  '{{#each missing}}x{{else}}empty{{/each}}', '{{#each nothing}}x{{else}}empty{{/each}}', '{{#each name}}x{{else}}text{{/each}}', '{{#each zero}}x{{else}}number{{/each}}',
  '{{#each yes}}x{{else}}bool{{/each}}', '{{#each bare}}x{{else}}empty{{/each}}', '{{#each mixed}}<{{this}}>{{/each}}', '{{#each mixed}}<{{name}}>{{/each}}',
  '{{#each person}}{{@key}}={{this}};{{/each}}', '{{#each fields}}{{@index}}{{@key}}{{@first}}{{@last}};{{/each}}', '{{#each fields as |v k|}}{{k}}={{v}} {{/each}}',
  '{{#each list as |item|}}{{item}}{{/each}}', '{{#each list as |item i|}}{{i}}{{item}}{{/each}}', '{{#each groups as |g|}}{{g.name}}{{#each g.units as |u|}}{{g.name}}{{u.id}}{{/each}};{{/each}}',
  '{{#each groups}}{{name}}:{{#each units}}{{id}}{{../name}}{{../../name}} {{/each}}{{/each}}', '{{#each groups}}{{#each units}}{{@../index}}{{@index}}{{@../../index}}|{{/each}}{{/each}}',
  '{{#each groups}}{{#each units}}{{id}}{{else}}none of {{name}}{{/each}}{{/each}}', '{{#each groups}}{{@root.name}}{{/each}}', '{{#each nested}}({{#each this}}{{this}}{{/each}}){{/each}}',
  '{{#each nested}}{{#each .}}{{@../index}}{{.}}{{/each}}{{/each}}', '{{#each nested}}{{length}}{{/each}}', '{{#each list}}{{../name}}{{/each}}', '{{#each list}}{{../list.[0]}}{{/each}}',
  '{{#each list}}{{@root.list.length}}{{/each}}', '{{#each list}}{{#if ../yes}}{{this}}{{/if}}{{/each}}', '{{#each list}}{{#if ../no}}x{{else}}{{this}}{{/if}}{{/each}}',
  '{{#each groups}}{{#if units}}{{name}}{{#each units}}{{../name}}{{/each}}{{/if}}{{/each}}', '{{^each none}}none{{/each}}', '{{^each list}}none{{else}}{{this}}{{/each}}',
  '{{#each groups}}{{#each ../groups}}{{../name}}{{/each}};{{/each}}', '{{#each list}}{{#each ../list}}{{..}}{{.}} {{/each}}{{/each}}', '{{#each items}}{{#if v}}{{v}}{{else}}-{{/if}}{{/each}}',
  '{{#each items}}{{#if v includeZero=true}}{{v}}{{else}}-{{/if}}{{/each}}', '{{#each this.list}}{{this}}{{/each}}', '{{#each ./list}}{{this}}{{/each}}', '{{#each @root.list}}{{this}}{{/each}}',
  '{{#each list as |index|}}{{index}}{{this.index}}{{/each}}', '{{#each groups as |name|}}{{name.name}}{{./name}}{{/each}}', '{{#each}}{{/each}}', '{{#each list}}{{@root.yes}}{{@missing}}{{/each}}',
  // with
  '{{#with person}}{{name}}{{mail}}{{/with}}', '{{#with person}}{{boss.name}}{{../name}}{{/with}}', '{{#with person.boss}}{{#with boss}}{{name}}{{../name}}{{../../name}}{{/with}}{{/with}}',
  '{{#with missing}}x{{else}}n{{/with}}', '{{#with nothing}}x{{/with}}', '{{#with empty}}x{{else}}e{{/with}}', '{{#with zero}}x{{.}}{{else}}e{{/with}}', '{{#with none}}x{{else}}e{{/with}}',
  '{{#with bare}}x{{else}}e{{/with}}', '{{#with no}}x{{else}}e{{/with}}', '{{#with name}}{{.}}{{length}}{{/with}}', '{{#with person as |p|}}{{p.name}}{{p.boss.name}}{{/with}}',
  '{{#with person as |p|}}{{#with p.boss as |b|}}{{p.name}}{{b.name}}{{../name}}{{/with}}{{/with}}', '{{#with this}}{{name}}{{../name}}{{/with}}', '{{#with .}}{{name}}{{/with}}',
  '{{#with person}}{{#with @root}}{{name}}{{../name}}{{/with}}{{/with}}', '{{#with person}}{{#with ..}}{{name}}{{../name}}{{/with}}{{/with}}', '{{#with person}}{{#each ../list}}{{../name}}{{this}}{{/each}}{{/with}}',
  '{{#with}}{{/with}}', '{{^with person}}a{{else}}{{name}}{{/with}}', '{{#each groups}}{{#with ../person}}{{name}}{{../name}}{{@index}}{{/with}}{{/each}}',
  // sections
  '{{#person}}{{name}}{{../name}}{{/person}}', '{{#list}}{{.}}{{@index}}{{#unless @last}},{{/unless}}{{/list}}', '{{#yes}}{{name}}{{/yes}}', '{{#no}}x{{/no}}', '{{#no}}x{{else}}n{{/no}}', '{{#nothing}}x{{else}}n{{/nothing}}',
  '{{#missing}}x{{else}}n{{/missing}}', '{{#none}}x{{else}}n{{/none}}', '{{#zero}}z{{.}}{{else}}n{{/zero}}', '{{#empty}}e{{.}}{{else}}n{{/empty}}', '{{#name}}{{.}}{{/name}}', '{{#bare}}b{{/bare}}',
  '{{^no}}n{{/no}}', '{{^yes}}n{{else}}y{{/yes}}', '{{^list}}none{{/list}}', '{{^none}}none{{/none}}', '{{^person}}a{{else}}{{name}}{{/person}}', '{{#person.boss}}{{name}}{{#boss}}{{name}}{{../name}}{{/boss}}{{/person.boss}}',
  '{{#groups}}{{name}}{{#units}}{{id}}{{../name}}{{/units}}{{/groups}}', '{{#yes}}{{../name}}|{{/yes}}', '{{#person}}{{#../yes}}{{name}}{{../name}}{{/../yes}}{{/person}}', '{{#groups}}{{#../yes}}{{@index}}{{name}}{{/../yes}}{{/groups}}',
  '{{#@root.list}}{{.}}{{/@root.list}}', '{{#each list}}{{#@first}}F{{/@first}}{{^@last}}-{{/@last}}{{/each}}', '{{#["a b"]}}x{{/["a b"]}}', '{{#"a b"}}{{.}}{{/"a b"}}', '{{#list as |x i|}}{{x}}{{i}}{{/list}}', '{{#mixed}}<{{.}}>{{/mixed}}',
  // lookup, literals, subexpressions
  '{{lookup list 1}}', '{{lookup person "name"}}', '{{lookup person which}}', '{{lookup list "length"}}', '{{lookup name 0}}', '{{lookup missing "x"}}', '{{lookup zero "x"}}', '{{lookup list 9}}',
  '{{lookup (lookup person "boss") "name"}}', '{{#with (lookup groups 0)}}{{name}}{{/with}}', '{{#each (lookup groups 0)}}{{@key}}{{/each}}', '{{#if (lookup person "name")}}y{{/if}}', '{{#if (lookup person "x")}}y{{else}}n{{/if}}',
  '{{#each list}}{{lookup ../list @index}}{{/each}}', '{{#each list}}{{lookup @root.mixed @index}}{{/each}}', '{{{lookup this "name"}}}', '{{lookup . "name"}}', '{{lookup fields "two words"}}', '{{lookup this (lookup this "missing")}}',
  '{{#each groups}}{{lookup (lookup units 0) "id"}};{{/each}}', '{{"name"}}{{12}}{{true}}', '{{"a b"}}{{[a b]}}', '{{@root.person.name}}', '{{@../root.name}}', '{{json}}', '{{index}}', '{{foo bar}}', '{{#foo bar}}{{/foo}}', '{{lookup person "constructor"}}', '{{person.constructor}}',
  '{{person.__proto__}}', '{{list.map}}', '{{#each list}}{{this.constructor}}{{/each}}', '{{name.toUpperCase}}', '{{person.toString}}',
  // white space around what takes effect
  '{{#each list}}\n  {{this}}\n{{/each}}\nend', 'a\n{{#if yes}}\n  b\n{{else}}\n  c\n{{/if}}\nd', '{{#each list ~}} {{this}} {{~/each}}', '{{#each list}} {{~this~}} {{/each}}', 'a {{~#if yes~}} b {{~/if~}} c', '{{#if no}}\nx\n{{else if yes}}\ny\n{{/if}}\nz',
  '{{#each groups}}\n{{name}}\n{{#each units}}\n- {{id}}\n{{/each}}\n{{/each}}', '{{#if yes}}{{! c }}\nx\n{{/if}}', '\\{{#if yes}}{{name}}',
  '{{{{raw}}}} {{name}} {{{{/raw}}}}', 'a\n{{{{raw}}}}\n{{#if}}\n{{{{/raw}}}}\nb', '{{{{person}}}} {{x}} {{{{/person}}}}', '{{{{missing}}}} {{x}} {{{{/missing}}}}', '{{{{if no}}}} {{x}} {{{{/if}}}}',
];
const partialled = [
  ['{{> p}}', {p: '[{{name}}]'}], ['{{> p person}}', {p: '[{{name}}]'}], ['{{> p person.boss}}', {p: '[{{name}}{{../name}}{{@root.name}}]'}], ['{{> p a=name b=1}}', {p: '{{a}}{{b}}{{zero}}'}],
  ['{{> p person name="other"}}', {p: '{{name}}{{mail}}'}], ['{{> p list x=1}}', {p: '{{[0]}}{{x}}{{length}}'}], ['{{> p name x=1}}', {p: '{{[0]}}{{x}}'}], ['{{> p missing}}', {p: 'x{{name}}'}], ['{{> p nothing x=1}}', {p: '{{x}}'}],
  ['{{#each groups}}{{> p}}{{/each}}', {p: '{{name}}{{@index}}{{../name}}'}], ['{{#each groups}}{{> p ../person}}{{/each}}', {p: '{{name}}{{@index}}'}], ['{{#each list}}{{> p this}}{{/each}}', {p: '<{{.}}>'}], ['{{> p}}', {}],
  ['{{> a/b}}', {'a/b': 'slash'}], ['{{> a.b}}', {'a.b': 'dot'}], ['{{> [a b]}}', {'a b': 'spaced'}], ['{{> "a b"}}', {'a b': 'quoted'}], ['{{> 12}}', {'12': 'number'}], ['{{> p}}', {p: ''}], ['{{> p 1 2}}', {p: ''}], ['{{> p this}}', {p: '{{name}}'}],
  ['{{> (lookup . "which")}}', {p: 'chosen {{name}}'}], ['{{> (lookup . "label")}}', {p: 'x'}], ['{{#each list}}{{> (lookup . 0)}}{{/each}}', {a: 'A', b: 'B', c: 'C'}], ['{{> (lookup . "which") person x=1}}', {p: '{{name}}{{x}}'}],
  ['a\n{{> p}}\nb', {p: 'x\n'}], ['a\n  {{> p}}\nb', {p: 'x\ny\n'}], ['a\n  {{> p}}\nb', {p: 'x\ny'}], ['a\n  {{> p}}\nb', {p: '{{> q}}z\n', q: '1\n2\n'}], ['a\n  {{> p}}\nb', {p: '  {{> q}}\nz\n', q: '1\n2\n'}], ['a {{> p}} b', {p: 'x\ny\n'}],
  ['  {{> p}}\n', {p: ''}], ['  {{> p}}\n', {p: '\n\nx'}], ['  {{> p}}', {p: '{{#each list}}\n{{this}}\n{{/each}}\n'}], ['{{~> p~}} x', {p: ' y '}], ['{{> p}}', {p: '{{> q}}', q: '{{> r}}', r: '{{name}}'}],
  ['{{> node tree}}', {node: '{{name}}({{#each kids}}{{> node}}{{/each}})'}], ['{{> node tree}}', {node: '{{name}}{{#each kids}}{{@index}}{{> node this}}{{/each}}'}], ['{{> node tree}}', {node: '{{name}}\n{{#each kids}}\n  {{> node}}\n{{/each}}\n'}],
  ['{{#with tree}}{{> a}}{{/with}}', {a: '{{name}}{{#each kids}}{{> b}}{{/each}}', b: '<{{> a}}>'}], ['{{> node tree x=1}}', {node: '{{x}}{{name}}{{#each kids}}{{> node x=2}}{{/each}}'}],
  ['{{#> lay}}in {{name}}{{/lay}}', {lay: '<{{> @partial-block}}>'}], ['{{#> lay person}}in {{name}}{{../name}}{{/lay}}', {lay: '<{{name}} {{> @partial-block}}>'}], ['{{#> missing}}fallback {{name}}{{/missing}}', {}], ['{{#> lay}}x{{/lay}}', {lay: 'no block'}],
  ['{{#> lay}}{{name}}{{/lay}}', {lay: '{{> @partial-block person}}{{> @partial-block}}'}], ['{{#> a}}1{{#> b}}2{{/b}}{{/a}}', {a: 'a{{> @partial-block}}', b: 'b{{> @partial-block}}'}], ['{{#> a}}x{{/a}}', {a: '{{#> b}}y{{> @partial-block}}{{/b}}', b: 'b{{> @partial-block}}'}],
  ['{{#each groups}}{{#> lay}}{{name}}{{@index}}{{@../index}}{{@../../index}}{{../name}}{{/lay}}{{/each}}', {lay: '<{{@index}}{{> @partial-block}}>'}], ['{{#> lay x="h"}}{{x}}{{name}}{{/lay}}', {lay: '{{x}}{{> @partial-block}}'}], ['{{> @partial-block}}', {}],
  ['a\n{{#> lay}}\nin\n{{/lay}}\nb', {lay: '<\n{{> @partial-block}}\n>\n'}], ['{{#> (lookup . "which")}}f{{/undefined}}', {p: 'x'}], ['{{#> lay}}{{#each list}}{{this}}{{/each}}{{/lay}}', {lay: '{{#each one}}{{> @partial-block}}{{/each}}'}],
  ['{{#*inline "p"}}[{{name}}]{{/inline}}{{> p}}{{> p person}}', {}], ['{{> p}}{{#*inline "p"}}late{{/inline}}', {}], ['{{#*inline "p"}}inner{{/inline}}{{> p}}', {p: 'outer'}], ['{{#*inline "p"}}{{name}}{{../name}}{{/inline}}{{#each groups}}{{> p}}{{/each}}', {}],
  ['{{#if yes}}{{#*inline "p"}}{{name}}{{../name}};{{/inline}}{{#each groups}}{{> p}}{{/each}}{{/if}}', {}], ['{{#each groups}}{{#*inline "p"}}{{name}}{{../name}};{{/inline}}{{> p}}{{/each}}', {}], ['{{#if yes}}{{#*inline "p"}}in{{/inline}}{{/if}}{{> p}}', {p: 'out'}],
  ['{{#*inline "p"}}A{{> q}}{{/inline}}{{#*inline "q"}}B{{/inline}}{{> p}}', {}], ['{{#> lay}}{{#*inline "nav"}}nav {{name}}{{/inline}}{{/lay}}', {lay: '({{> nav}})'}], ['{{#> lay}}{{#*inline "nav"}}mine{{/inline}}{{/lay}}', {lay: '{{#> nav}}default{{/nav}}'}],
  ['{{#> lay}}{{/lay}}', {lay: '{{#> nav}}default{{/nav}}'}], ['{{#*inline "p"}}{{x}}{{/inline}}{{> p x=name}}', {}], ['{{#each groups as |g|}}{{#*inline "p"}}{{name}}{{/inline}}{{> p g}}{{/each}}', {}], ['{{#*inline "p"}}1{{/inline}}{{#*inline "p"}}2{{/inline}}{{> p}}', {}],
  ['{{#with person}}{{#*inline "p"}}{{name}}{{/inline}}{{#with boss}}{{> p}}{{> p ..}}{{/with}}{{/with}}', {}], ['{{#*inline "t"}}{{name}}{{#each kids}}{{> t}}{{/each}}{{/inline}}{{> t tree}}', {}], ['a\n{{#*inline "p"}}\n  x\n{{/inline}}\n{{> p}}\nb', {}], ['{{* deco}}', {}], ['{{#*deco}}{{/deco}}', {}],
  ['{{> q}}', {q: '{{#*inline "p"}}in q{{/inline}}{{> p}}'}], ['{{> q}}{{> p}}', {q: '{{#*inline "p"}}in q{{/inline}}', p: 'global'}], ['{{#*inline "p"}}mine{{/inline}}{{> q}}', {q: '{{> p}}', p: 'global'}],
];

function render(template, context, partials) {
  const engine = Handlebars.create();
  engine.registerHelper('raw', function (options) { return options.fn(this); });
  Object.keys(partials).forEach((name) => engine.registerPartial(name, partials[name]));
  try {
    return engine.compile(template)(context);
  } catch (error) {
    return null;
  }
}

const cases = templates.map((template) => ({template, output: render(template, context, {})}));
const effectCases = [...effects.map((template) => [template, {}]), ...partialled].map(([template, partials]) => {
  const output = render(template, event, partials);
  return Object.keys(partials).length ? {template, partials, output} : {template, output};
});
const file = path.join(__dirname, 'handlebars.json');
const rows = cases.map((row) => `  ${JSON.stringify(row)}`).join(',\n');
const effectRows = effectCases.map((row) => `  ${JSON.stringify(row)}`).join(',\n');
const trees = blocks.map((template) => ({template, texts: texts(Handlebars.parse(template))}));
const treeRows = trees.map((row) => `  ${JSON.stringify(row)}`).join(',\n');
const json = `{"context": ${JSON.stringify(context)},\n "cases": [\n${rows}\n],\n "event": ${JSON.stringify(event)},\n "effects": [\n${effectRows}\n],\n "trees": [\n${treeRows}\n]}\n`;
fs.writeFileSync(file, json);
