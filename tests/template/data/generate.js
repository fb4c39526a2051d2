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
  '{{list.length}}', '{{name.length}}', '{{emoji.length}}', '{{list}}', '{{{list}}}', '{{deep}}', '{{deep.[0].[2].[1]}}',
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

const cases = templates.map((template) => {
  try {
    return {template, output: Handlebars.compile(template)(context)};
  } catch (error) {
    return {template, output: null};
  }
});
const file = path.join(__dirname, 'handlebars.json');
const rows = cases.map((row) => `  ${JSON.stringify(row)}`).join(',\n');
const trees = blocks.map((template) => ({template, texts: texts(Handlebars.parse(template))}));
const treeRows = trees.map((row) => `  ${JSON.stringify(row)}`).join(',\n');
const json = `{"context": ${JSON.stringify(context)},\n "cases": [\n${rows}\n],\n "trees": [\n${treeRows}\n]}\n`;
fs.writeFileSync(file, json);
